-- parley_app: the Worker. It owns nothing and cannot pass row-level security.
-- parley_door: owns the functions that may look across the wall, and can do just what they need.
do $$ begin
  create role parley_door nologin;
exception when duplicate_object then null; end $$;
do $$ begin
  create role parley_app login nobypassrls noinherit;
exception when duplicate_object then null; end $$;
grant parley_door to current_user;
create schema if not exists door;
grant usage on schema door to parley_app, parley_door;
grant create on schema door to parley_door;
grant usage on schema public to parley_app, parley_door;
-- Both are trusted, so that a plain owner may create them.
create extension if not exists pg_trgm;
create extension if not exists btree_gin;

-- Closes a file of doors: whoever creates one would else own it, with all the owner may do.
create or replace procedure public.hand_over_doors() language plpgsql as $$
declare f regprocedure;
begin
  for f in select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'door' loop
    execute format('alter function %s owner to parley_door', f);
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to parley_app, parley_door', f);
  end loop;
end $$;
