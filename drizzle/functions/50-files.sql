-- Files that nothing refers to a day after they were made, and uploads that never came to their end.
grant select, update, delete on files to parley_door;
grant select, update on usage_totals to parley_door;
drop policy if exists door on files;
create policy door on files for select to parley_door using (true);
drop policy if exists door_update on files;
create policy door_update on files for update to parley_door using (true);
drop policy if exists door_delete on files;
create policy door_delete on files for delete to parley_door using (true);
-- What a tenant holds is counted by triggers, which run with the rights of the door that writes.
drop policy if exists door_files on usage_totals;
create policy door_files on usage_totals for select to parley_door using (true);
drop policy if exists door_files_update on usage_totals;
create policy door_files_update on usage_totals for update to parley_door using (true);

grant select on held_files, message_attachments to parley_door;
drop policy if exists door on held_files;
create policy door on held_files for select to parley_door using (true);
drop policy if exists door on message_attachments;
create policy door on message_attachments for select to parley_door using (true);

-- The one place that says whether anything refers to a file: a message, or one of the holders below.
create or replace function public.file_is_held(tenant uuid, file uuid) returns boolean language sql stable as $$
  select exists (select 1 from message_attachments a where a.tenant_id = tenant and a.file_id = file)
    or exists (select 1 from held_files h where h.tenant_id = tenant and h.file_id = file)
$$;

-- What nothing refers to any more is left to whoever removes unused files.
create or replace function public.let_go(tenant uuid, file uuid) returns void language sql as $$
  update files f set attached_at = null where f.tenant_id = tenant and f.id = file and f.attached_at is not null and not file_is_held(tenant, file)
$$;

-- For the release before this one.
create or replace function public.release_files(ids uuid[]) returns void language sql as $$
  select let_go(current_tenant(), i.id) from unnest(ids) i(id)
$$;

-- A message's files, however it went.
create or replace function public.attachments_gone() returns trigger language plpgsql as $$
begin
  perform let_go(g.tenant_id, g.file_id) from (select distinct f.tenant_id, f.file_id from former f where f.file_id is not null order by 1, 2) g;
  return null;
end $$;
create or replace trigger let_files_go after delete on message_attachments
  referencing old table as former for each statement execute function attachments_gone();

-- The files that a row refers to from JSON.
create or replace function public.files_named(attachments jsonb) returns setof uuid language sql immutable as $$
  select distinct (a ->> 'fileId')::uuid from jsonb_array_elements(case jsonb_typeof(attachments) when 'array' then attachments else '[]' end) a
   where a ->> 'fileId' is not null
$$;

-- Keeps held_files in step with a table: its arguments are where the row has its attachments, and its key.
create or replace function public.hold_files() returns trigger language plpgsql as $$
declare gone jsonb := '[]'; come jsonb := '[]';
begin
  -- A statement that changed no row has its trigger as well.
  if tg_op = 'INSERT' then
    if not exists (select 1 from changed) then return null; end if;
  elsif not exists (select 1 from former) then
    return null;
  end if;
  if tg_op <> 'INSERT' then
    select coalesce(jsonb_agg(jsonb_build_object('tenant', x.tenant_id, 'file', n.file, 'holder', held_by(tg_table_name, to_jsonb(x), tg_argv[1]))), '[]') into gone
      from former x cross join lateral files_named(to_jsonb(x) #> tg_argv[0]::text[]) n(file);
  end if;
  if tg_op <> 'DELETE' then
    select coalesce(jsonb_agg(jsonb_build_object('tenant', x.tenant_id, 'file', n.file, 'holder', held_by(tg_table_name, to_jsonb(x), tg_argv[1]))), '[]') into come
      from changed x cross join lateral files_named(to_jsonb(x) #> tg_argv[0]::text[]) n(file);
  end if;
  if gone = come then return null; end if;
  delete from held_files h using jsonb_to_recordset(gone) g(tenant uuid, file uuid, holder text)
   where h.tenant_id = g.tenant and h.file_id = g.file and h.holder = g.holder;
  insert into held_files (tenant_id, file_id, holder) select c.tenant, c.file, c.holder
    from jsonb_to_recordset(come) c(tenant uuid, file uuid, holder text) join files f on f.tenant_id = c.tenant and f.id = c.file on conflict do nothing;
  update files f set attached_at = now() from jsonb_to_recordset(come) c(tenant uuid, file uuid)
   where f.tenant_id = c.tenant and f.id = c.file and f.attached_at is null;
  perform let_go(g.tenant, g.file) from (select distinct x.tenant, x.file from jsonb_to_recordset(gone) x(tenant uuid, file uuid) order by 1, 2) g;
  return null;
end $$;

create or replace function public.held_by(named text, r jsonb, key text) returns text language sql immutable as $$
  select named || ' ' || string_agg(r ->> k, ' ') from unnest(key::text[]) k
$$;

do $$
declare holder record; event text;
begin
  for holder in select * from (values ('message_drafts', '{attachments}', '{id}'), ('message_edits', '{attachments}', '{id}'),
    ('moderation_queue', '{change,attachments}', '{id}'), ('message_shadows', '{patch,attachments}', '{message_id,user_id}'),
    ('campaigns', '{message,attachments}', '{id}')) h(name, attachments, key) loop
    foreach event in array array['insert', 'update', 'delete'] loop
      execute format('create or replace trigger hold_files_%1$s after %1$s on public.%2$I referencing %3$s
        for each statement execute function hold_files(%4$L, %5$L)', event, holder.name,
        case event when 'insert' then 'new table as changed' when 'delete' then 'old table as former' else 'old table as former new table as changed' end,
        holder.attachments, holder.key);
    end loop;
    -- Those that were there before their triggers.
    execute format('insert into held_files (tenant_id, file_id, holder) select x.tenant_id, n.file, held_by(%1$L, to_jsonb(x), %3$L)
      from public.%1$I x cross join lateral files_named(to_jsonb(x) #> %2$L) n(file) join files f on f.tenant_id = x.tenant_id and f.id = n.file
      on conflict do nothing', holder.name, holder.attachments, holder.key);
  end loop;
  update files f set attached_at = now() from held_files h where h.tenant_id = f.tenant_id and h.file_id = f.id and f.attached_at is null;
end $$;

-- Marked, they can be attached no more, so that their objects may be removed before their rows.
create or replace function door.claim_unused_files(most int) returns jsonb
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  with unused as (
      select f.tenant_id, f.id from files f where f.attached_at is null and f.created_at < now() - interval '24 hours'
         and not file_is_held(f.tenant_id, f.id)
       order by f.created_at limit most for update skip locked),
    marked as (
      update files f set status = 'failed', error = coalesce(f.error, 'Nothing refers to it.')
        from unused u where f.tenant_id = u.tenant_id and f.id = u.id
      returning f.tenant_id, f.id, f.upload_id)
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', m.tenant_id, 'id', m.id, 'uploadId', m.upload_id)), '[]') from marked m
$$;

create or replace function door.forget_unused_files(gone jsonb) returns void
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from files f using jsonb_to_recordset(gone) g("tenantId" uuid, id uuid)
   where f.tenant_id = g."tenantId" and f.id = g.id and f.attached_at is null and f.status = 'failed'
$$;

-- Of a deleted tenant: what is being uploaded in parts, and will not be known of when its rows are gone.
create or replace function door.open_uploads(tenant uuid, behind uuid, most int) returns table (id uuid, upload_id text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select f.id, f.upload_id from files f
   where f.tenant_id = tenant and f.upload_id is not null and (behind is null or f.id > behind)
     and exists (select 1 from tenants t where t.id = tenant and t.deleted_at is not null)
   order by f.id limit most
$$;

call hand_over_doors();
