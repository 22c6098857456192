-- Removing a tenant, whatever tables there are: the doors are written here from the catalogue, so that no new table is
-- missed and each statement can be read. By these rights parley_door sees and deletes what belongs to the tenant under
-- removal, and nothing else.
create or replace function public.removed_tenant() returns uuid language sql stable parallel safe as
$$ select nullif(current_setting('app.removed_tenant', true), '')::uuid $$;

create or replace function public.begin_removal(tenant uuid) returns void language plpgsql as $$
begin
  if not exists (select 1 from tenants t where t.id = tenant and t.deleted_at is not null
      and t.id <> '00000000-0000-0000-0000-000000000000') then
    raise exception 'tenant % is not deleted', tenant;
  end if;
  perform set_config('app.removed_tenant', tenant::text, true);
end $$;

do $$
declare name text; counts text := ''; removals text := '';
begin
  -- Every table comes after those that refer to it: it has more of them below it than they have. Within a circle those
  -- whose foreign keys would refuse go first.
  for name in
    with recursive edge as (
        select k.confrelid as parent, k.conrelid as child, bool_or(k.confdeltype in ('a', 'r')) as refuses from pg_constraint k
         where k.contype = 'f' and k.confrelid <> k.conrelid group by 1, 2),
      below as (select parent as top, child from edge union select b.top, e.child from below b join edge e on e.parent = b.child)
    select t.relname from pg_class t
     where t.relnamespace = 'public'::regnamespace and t.relkind = 'r' and exists (
       select 1 from pg_attribute a where a.attrelid = t.oid and a.attname = 'tenant_id' and not a.attisdropped)
     order by (select count(*) from below b where b.top = t.oid and b.child <> t.oid),
       (select count(*) from edge e where e.parent = t.oid and e.refuses), t.relname
  loop
    execute format('grant select, delete on public.%I to parley_door', name);
    execute format('drop policy if exists removal on public.%I', name);
    execute format('drop policy if exists removal_delete on public.%I', name);
    execute format('create policy removal on public.%I for select to parley_door using (tenant_id = (select removed_tenant()))', name);
    execute format('create policy removal_delete on public.%I for delete to parley_door using (tenant_id = (select removed_tenant()))', name);
    counts := counts || format(E'  if total <= most then\n    total := total + (select count(*) from (
      select 1 from %I x where x.tenant_id = tenant limit most + 1 - total) y);\n  end if;\n', name);
    removals := removals || format(E'  if removed < most then\n    delete from %1$I where ctid = any (array(
      select x.ctid from %1$I x where x.tenant_id = tenant limit most - removed));
    get diagnostics n = row_count;\n    removed := removed + n;\n  end if;\n', name);
  end loop;

  -- How much there is to do; null where it is too much to be counted.
  execute format('create or replace function door.count_tenant_rows(tenant uuid, most int) returns int
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as %L', format('
#variable_conflict use_variable
declare total int := 0;
begin
  perform begin_removal(tenant);
%s  perform set_config(''app.removed_tenant'', '''', true);
  return case when total <= most then total end;
end', counts));

  -- At most so many rows of a deleted tenant. None were left when it says 0.
  execute format('create or replace function door.remove_tenant_rows(tenant uuid, most int) returns int
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp set enable_seqscan = off as %L', format('
#variable_conflict use_variable
declare removed int := 0; n int;
begin
  perform begin_removal(tenant);
%s  perform set_config(''app.removed_tenant'', '''', true);
  return removed;
end', removals));
end $$;

-- What triggers write when rows go.
grant select, update on usage_totals to parley_door;
drop policy if exists removal_update on usage_totals;
create policy removal_update on usage_totals for update to parley_door using (tenant_id = (select removed_tenant()));

grant delete on tenants to parley_door;
drop policy if exists removal_delete on tenants;
create policy removal_delete on tenants for delete to parley_door using (id = (select removed_tenant()));

-- The end. What was still being written when the tenant was hidden goes with it.
create or replace function door.remove_tenant(tenant uuid) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  while door.remove_tenant_rows(tenant, 10000) > 0 loop end loop;
  perform begin_removal(tenant);
  delete from tenants t where t.id = tenant;
  perform set_config('app.removed_tenant', '', true);
end $$;

call hand_over_doors();
