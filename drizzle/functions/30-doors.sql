-- What may look across the wall. Each function is owned by parley_door, which has just the privileges
-- granted here; a test holds this list.
grant select on tenants, plans, users, api_keys, api_key_scopes, api_key_resources, api_key_addresses,
  auth_keys, auth_key_scopes, revoked_tokens, webhooks, webhook_health, webhook_secrets, webhook_subscriptions, webhook_scopes,
  webhook_event_types, channel_types, bans, block_lists, block_list_entries to parley_door;
do $$
declare t text;
begin
  foreach t in array array['tenants', 'plans', 'users', 'api_keys', 'api_key_scopes', 'api_key_resources',
    'api_key_addresses', 'auth_keys', 'auth_key_scopes', 'revoked_tokens', 'webhooks', 'webhook_health', 'webhook_secrets',
    'webhook_subscriptions', 'webhook_scopes', 'webhook_event_types', 'channel_types', 'bans', 'block_lists', 'block_list_entries'] loop
    execute format('drop policy if exists door on public.%I', t);
    execute format('create policy door on public.%I for select to parley_door using (true)', t);
  end loop;
end $$;

-- Checks the credential once more and sets the tenant and user of this transaction.
-- Whatever a cached copy decided before is held to by `version`.
create or replace function door.enter(credential jsonb) returns table (tenant_id uuid, user_id uuid, role text)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  tenant uuid := (credential ->> 'tenant')::uuid;
  kind text := credential ->> 'kind';
  t record; k record; u record;
begin
  if session_user <> 'parley_app' then raise exception 'unsafe role %', session_user using errcode = 'PA500'; end if;
  select x.suspended_at, x.deleted_at, x.config_version, x.block_version into t from tenants x where x.id = tenant;
  if not found or t.deleted_at is not null then perform refuse('unknown_credential'); end if;

  if kind = 'key' then
    select x.revoked_at, x.expires_at, x.enabled into k from api_keys x
     where x.tenant_id = tenant and x.id = (credential ->> 'id')::uuid;
    if not found then perform refuse('unknown_credential'); end if;
    if k.revoked_at <= now() then perform refuse('key_revoked'); end if;
    if k.expires_at <= now() then perform refuse('key_expired'); end if;
    if not k.enabled then perform refuse('key_disabled'); end if;
  elsif kind = 'token' then
    select x.revoked_at into k from auth_keys x where x.tenant_id = tenant and x.id = (credential ->> 'id')::uuid;
    if not found then perform refuse('unknown_credential'); end if;
    if k.revoked_at <= now() then perform refuse('key_revoked'); end if;
  end if;
  if credential ? 'jti' and exists (select 1 from revoked_tokens r where r.tenant_id = tenant and r.jti = credential ->> 'jti') then
    perform refuse('token_revoked');
  end if;
  if t.suspended_at is not null and kind <> 'system' then perform refuse('tenant_suspended'); end if;
  if (credential ->> 'version')::bigint <> t.config_version or (credential ->> 'blockVersion')::bigint <> t.block_version then
    raise exception 'stale' using errcode = 'PA409';
  end if;

  if credential ? 'user' or credential ? 'external' then
    select x.id, x.role, x.type, x.deactivated_at, x.tokens_revoked_at into u from users x
     where x.tenant_id = tenant
       and case when credential ? 'user' then x.id = (credential ->> 'user')::uuid else x.external_id = credential ->> 'external' end;
    if not found then perform refuse('unknown_user'); end if;
    if u.deactivated_at is not null then perform refuse('user_deactivated'); end if;
    if exists (select 1 from bans b where b.tenant_id = tenant and b.user_id = u.id and b.channel_id is null and not b.shadow
        and (b.expires_at is null or b.expires_at > now())) then
      perform refuse('banned');
    end if;
    if u.tokens_revoked_at >= to_timestamp((credential ->> 'iat')::double precision) then perform refuse('token_revoked'); end if;
    if credential ? 'writes' and u.type = 'anonymous' then perform refuse('anonymous_reads_only'); end if;
    if credential ? 'roles' and not (coalesce(u.role, '') = any (array(select jsonb_array_elements_text(credential -> 'roles')))) then
      perform refuse('missing_scope', jsonb_build_object('scope', credential ->> 'scope'));
    end if;
    perform set_config('app.user_id', u.id::text, true);
    user_id := u.id;
    role := u.role;
  end if;
  perform set_config('app.tenant_id', tenant::text, true);
  tenant_id := tenant;
  return next;
end $$;

-- Newest first; each signature of a delivery is made with all of them.
create or replace function door.live_secrets(tenant uuid, webhook uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('sealed', encode(s.sealed, 'base64'), 'masterVersion', s.master_version)
      order by s.created_at desc), '[]')
    from webhook_secrets s where s.tenant_id = tenant and s.webhook_id = webhook and (s.expires_at is null or s.expires_at > now())
$$;

-- All that an isolate caches of a tenant, with the version that keeps it honest.
create or replace function door.tenant_snapshot(tenant uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select jsonb_build_object(
    'tenantId', t.id, 'version', t.config_version, 'blockVersion', t.block_version, 'settings', t.settings,
    'limits', coalesce(p.limits, '{}'), 'features', coalesce(p.features, '{}'),
    'webhooks', coalesce((select jsonb_agg(jsonb_build_object('id', w.id, 'name', w.name, 'kind', w.kind, 'url', w.url, 'headers', w.headers,
        'filter', w.filter, 'ordered', w.ordered, 'timeoutMs', w.timeout_ms, 'failOpen', w.fail_open, 'shadow', w.shadow, 'action', w.action,
        'subscriptions', coalesce((select jsonb_agg(jsonb_build_object('kind', s.kind, 'name', s.name))
          from webhook_subscriptions s where s.tenant_id = w.tenant_id and s.webhook_id = w.id), '[]'),
        'scopes', coalesce((select jsonb_agg(jsonb_build_object('kind', s.kind, 'value', s.value))
          from webhook_scopes s where s.tenant_id = w.tenant_id and s.webhook_id = w.id), '[]'),
        'secrets', case when w.kind = 'push' then '[]' else door.live_secrets(w.tenant_id, w.id) end) order by w.id)
      from webhooks w left join webhook_health h on h.tenant_id = w.tenant_id and h.webhook_id = w.id
      where w.tenant_id = t.id and w.enabled and coalesce(h.status, 'active') <> 'disabled'), '[]'),
    'channelTypes', coalesce((select jsonb_agg(jsonb_build_object('name', c.name, 'settings', c.settings, 'permissions', c.permissions))
      from channel_types c where c.tenant_id = t.id), '[]'),
    'customTypes', coalesce((select jsonb_agg(jsonb_build_object('name', c.name, 'stream', c.stream, 'schema', c.schema, 'active', c.active))
      from webhook_event_types c where c.tenant_id = t.id), '[]'),
    'pushes', exists (select 1 from integrations i where i.tenant_id = t.id and i.medium = 'push' and i.status <> 'disabled'),
    'authKeys', coalesce((select jsonb_agg(jsonb_build_object('id', a.id, 'algorithm', a.algorithm, 'jwk', a.jwk,
        'jwksUrl', a.jwks_url, 'scopes', array(select s.scope from auth_key_scopes s where s.tenant_id = a.tenant_id and s.key_id = a.id)))
      from auth_keys a where a.tenant_id = t.id and a.revoked_at is null), '[]'))
  from tenants t left join plans p on p.id = t.plan_id
  where t.id = tenant and t.deleted_at is null
$$;

-- What texts are held against, by the keys of the entries.
create or replace function door.block_lists(tenant uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select jsonb_build_object('version', t.block_version, 'lists', coalesce((
      select jsonb_agg(jsonb_build_object('id', l.id, 'name', l.name, 'kind', l.kind, 'action', l.action, 'everywhere', l.everywhere,
          'entries', array(select e.key from block_list_entries e where e.tenant_id = l.tenant_id and e.list_id = l.id)) order by l.id)
        from block_lists l where l.tenant_id = t.id and l.active), '[]'))
    from tenants t where t.id = tenant
$$;

create or replace function door.find_key(key_hash bytea) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select jsonb_build_object(
    'id', k.id, 'kind', k.kind, 'requestsPerMinute', k.requests_per_minute,
    'scopes', array(select s.scope from api_key_scopes s where s.tenant_id = k.tenant_id and s.key_id = k.id),
    'addresses', array(select a.range::text from api_key_addresses a where a.tenant_id = k.tenant_id and a.key_id = k.id),
    'resources', coalesce((select jsonb_object_agg(r.kind, r.ids) from (
        select x.kind, jsonb_agg(x.resource_id) as ids from api_key_resources x
         where x.tenant_id = k.tenant_id and x.key_id = k.id group by x.kind) r), '{}'),
    'tenant', door.tenant_snapshot(k.tenant_id))
  from api_keys k where k.hash = key_hash
$$;

-- Neither LIKE nor lower() is leakproof, so under row-level security their indexes would be ignored: hence doors.
-- Newest first, of those below the place where the page before ended.
create or replace function door.find_users(q text, below uuid, most int) returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_custom_plan as $$
declare t uuid := current_tenant();
begin
  return query select u.id from users u
   where u.tenant_id = t and (below is null or u.id < below)
     and u.search_text like '%' || replace(replace(replace(lower(q), '\', '\\'), '%', '\%'), '_', '\_') || '%'
   order by u.id desc limit most;
end $$;

create or replace function door.users_with_email(address text) returns setof uuid
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select u.id from users u where u.tenant_id = current_tenant() and lower(u.email) = lower(address)
$$;

