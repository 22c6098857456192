-- Built from the catalogue, so that no new table can be left outside: every table with a tenant_id
-- gets forced row-level security, the policy of the Worker (wall) and that of the owner (keeper).
do $$
declare t record; mine constant text := 'tenant_id = (select current_tenant())';
begin
  for t in
    select c.oid, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and c.relkind in ('r', 'p') and c.relname not like 'parley\_%'
  loop
    execute format('alter table public.%I enable row level security', t.name);
    execute format('alter table public.%I force row level security', t.name);
    execute format('drop policy if exists keeper on public.%I', t.name);
    execute format('create policy keeper on public.%I to current_user using (true) with check (true)', t.name);
    if exists (select 1 from pg_attribute a where a.attrelid = t.oid and a.attname = 'tenant_id' and not a.attisdropped) then
      execute format('drop policy if exists wall on public.%I', t.name);
      execute format('create policy wall on public.%1$I to parley_app using (%2$s) with check (%2$s)', t.name, mine);
      execute format('grant select, insert, update, delete on public.%I to parley_app', t.name);
    end if;
  end loop;
end $$;

-- The audit log only grows.
revoke update, delete on audit_logs from parley_app;

-- A tenant sees itself; the deployment sees all of them.
drop policy if exists wall on tenants;
create policy wall on tenants to parley_app
  using (id = (select current_tenant()) or (select is_deployment()))
  with check (id = (select current_tenant()) or (select is_deployment()));
grant select, insert, update on tenants to parley_app;

-- Plans are the deployment's to write and every tenant's to read.
drop policy if exists wall on plans;
drop policy if exists wall_write on plans;
create policy wall on plans for select to parley_app using ((select current_tenant()) is not null);
create policy wall_write on plans to parley_app
  using ((select is_deployment())) with check ((select is_deployment()));
grant select, insert, update, delete on plans to parley_app;

-- Whatever isolates cache of a tenant.
do $$
declare watched text; event text;
begin
  foreach watched in array array['api_keys', 'api_key_scopes', 'api_key_resources', 'api_key_addresses', 'auth_keys', 'auth_key_scopes',
    'webhooks', 'webhook_secrets', 'webhook_subscriptions', 'webhook_scopes', 'webhook_event_types', 'channel_types', 'integrations'] loop
    foreach event in array array['insert', 'update', 'delete'] loop
      -- Whether there is one is cached of integrations, and their health, which is not, changes often.
      continue when watched = 'integrations' and event = 'update';
      execute format('create or replace trigger config_changed_%1$s after %1$s on public.%2$I
        referencing %3$s table as changed for each statement execute function config_changed()',
        event, watched, case event when 'delete' then 'old' else 'new' end);
    end loop;
  end loop;
end $$;
do $$
declare watched text; event text;
begin
  foreach watched in array array['block_lists', 'block_list_entries'] loop
    foreach event in array array['insert', 'update', 'delete'] loop
      execute format('create or replace trigger blocks_changed_%1$s after %1$s on public.%2$I
        referencing %3$s table as changed for each statement execute function blocks_changed()',
        event, watched, case event when 'delete' then 'old' else 'new' end);
    end loop;
  end loop;
end $$;
create or replace trigger tenant_changed before update on tenants for each row execute function tenant_changed();

-- Standing quantities: table, metric, what a row counts for.
do $$
declare counted record; event text;
begin
  for counted in select * from (values ('users', 'users', 'row'), ('teams', 'teams', 'row'), ('channels', 'channels', 'chat'),
    ('webhooks', 'webhooks', 'row'), ('integrations', 'integrations', 'row'), ('contacts', 'contacts', 'row'), ('inboxes', 'inboxes', 'live')) c(name, metric, worth) loop
    foreach event in array array['insert', 'delete'] loop
      execute format('create or replace trigger count_%1$s_%2$s after %1$s on public.%3$I
        referencing %4$s table as changed for each statement execute function count_standing(%2$L, %5$L)',
        event, counted.metric, counted.name, case event when 'delete' then 'old' else 'new' end, counted.worth);
    end loop;
  end loop;
end $$;

-- A file's size is known when its upload is complete.
create or replace trigger count_insert_storage after insert on files
  referencing new table as changed for each statement execute function count_standing('storageBytes', 'size');
create or replace trigger count_delete_storage after delete on files
  referencing old table as changed for each statement execute function count_standing('storageBytes', 'size');
create or replace trigger count_update_storage after update on files
  referencing old table as former new table as changed for each statement execute function count_standing('storageBytes', 'size');
-- An inbox that is closed is there no longer.
create or replace trigger count_update_inboxes after update on inboxes
  referencing old table as former new table as changed for each statement execute function count_standing('inboxes', 'live');

insert into tenants (id, name) values ('00000000-0000-0000-0000-000000000000', 'deployment') on conflict do nothing;
