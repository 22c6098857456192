grant select on deliveries, integrations to parley_door;
grant update (claimed_until, attempts, integration_id, next_attempt_at, error) on deliveries to parley_door;
grant update (data_key, master_version) on integrations to parley_door;
grant update (sealed, master_version) on webhook_secrets to parley_door;
-- A secret that is sealed anew makes what isolates have cached out of date.
grant update (config_version, block_version) on tenants to parley_door;
do $$
declare p record;
begin
  for p in select * from (values ('deliveries', 'select'), ('deliveries', 'update'), ('integrations', 'select'), ('integrations', 'update'),
    ('webhook_secrets', 'update'), ('tenants', 'update')) v(name, verb) loop
    execute format('drop policy if exists door_%s on public.%I', p.verb, p.name);
    execute format('create policy door_%1$s on public.%2$I for %1$s to parley_door %3$s', p.verb, p.name,
      case p.verb when 'select' then 'using (true)' else 'using (true) with check (true)' end);
  end loop;
end $$;

-- Takes what is to be sent for one consumer: those asked for, or, asked for none, those that are due the longest, `most`
-- and the rest of the last mail. All that is due of a mail is taken together, by one consumer: to a provider that gets
-- all recipients in one call, others of them would be another call, and those who have the mail would get it again.
-- Each with its account: the one it has, else the tenant's first that works; none means the sandbox. What may not go
-- out now, because its owner switched the account off, is looked at again in a quarter of an hour and given up after
-- three days. Who was suppressed since the message was recorded is sent nothing. A claim outlasts the calls that are made
-- in it (src/providers/patience.ts).
create or replace function door.claim_outbound(asked jsonb, most int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare answer jsonb; claim timestamptz := date_trunc('milliseconds', now() + interval '480 seconds');
  one record; own uuid[]; owners uuid[] := '{}'; wanted uuid[] := '{}'; places refcursor;
begin
  if asked is null then
    open places for select d.tenant_id, d.id, d.message_id, d.medium from deliveries d
       where d.status = 'pending' and d.next_attempt_at <= now() and (d.claimed_until is null or d.claimed_until <= now())
       order by d.next_attempt_at;
  else
    open places for select d.tenant_id, d.id, d.message_id, d.medium from deliveries d
      join jsonb_to_recordset(asked) a(t uuid, id uuid) on d.tenant_id = a.t and d.id = a.id order by d.tenant_id, d.message_id, d.id;
  end if;
  loop
    exit when asked is null and cardinality(wanted) >= most;
    fetch places into one;
    exit when not found;
    continue when one.id = any (wanted);
    -- Whoever else claims this mail at the moment claims all of it.
    continue when not pg_try_advisory_xact_lock(hashtextextended('claim ' || case one.medium when 'email' then one.message_id else one.id end, 0));
    own := array[one.id];
    if one.medium = 'email' then
      -- By the mail's own index, whatever statistics say of how much is due (offset 0).
      own := own || array(select d.id from (select x.* from deliveries x where x.tenant_id = one.tenant_id and x.message_id = one.message_id offset 0) d
        where d.id <> one.id and d.medium = 'email' and d.status = 'pending' and d.next_attempt_at <= now() + interval '1 second'
         and (d.claimed_until is null or d.claimed_until <= now()) order by d.next_attempt_at, d.id limit most);
    end if;
    wanted := wanted || own;
    owners := owners || array_fill(one.tenant_id, array[cardinality(own)]);
  end loop;
  close places;
  with free as materialized (
      select d.* from deliveries d join unnest(owners, wanted) a(t, id) on d.tenant_id = a.t and d.id = a.id
       where d.status = 'pending' and d.next_attempt_at <= now() + interval '1 second' and (d.claimed_until is null or d.claimed_until <= now())
       order by d.tenant_id, d.id for update of d skip locked),
    judged as (select f.*, i.id as account_id, i.provider, i.config, i.credentials, i.data_key, i.master_version, i.status as account_status,
        case when s.reason is not null then 'suppressed'
          when i.status is distinct from 'disabled' and t.suspended_at is null and t.deleted_at is null then 'go'
          when f.created_at > now() - interval '3 days' then 'held' else 'expired' end as verdict,
        coalesce('suppressed: ' || s.reason, case when i.status = 'disabled' then 'integration_disabled' else 'tenant_suspended' end) as reason
      from free f join tenants t on t.id = f.tenant_id
      left join lateral (select suppressed_reason_of(f.tenant_id, lower(f.recipient), coalesce(f.content ->> 'stream', 'transactional')) as reason
        where f.medium = 'email') s on true
      left join lateral (
        select x.* from integrations x where x.tenant_id = f.tenant_id and x.id = f.integration_id
        union all
        (select x.* from integrations x where f.integration_id is null and x.tenant_id = f.tenant_id and x.medium = f.medium
         order by array_position(array['active', 'failing', 'disabled'], x.status), x.created_at, x.id limit 1)) i on true),
    marked as (update deliveries d set
        claimed_until = case when j.verdict <> 'held' then claim end,
        attempts = d.attempts + case j.verdict when 'go' then 1 else 0 end,
        integration_id = coalesce(j.account_id, d.integration_id),
        next_attempt_at = case j.verdict when 'held' then now() + interval '15 minutes' else d.next_attempt_at end,
        error = case j.verdict when 'held' then j.reason else d.error end
      from judged j where d.tenant_id = j.tenant_id and d.id = j.id returning d.id)
  select jsonb_build_object('taken', count(*), 'go', coalesce(jsonb_agg(jsonb_build_object('tenantId', j.tenant_id, 'id', j.id, 'channelId', j.channel_id, 'messageId', j.message_id,
      'medium', j.medium, 'recipient', coalesce(j.content ->> 'recipient', j.recipient), 'content', j.content, 'status', j.status, 'complained', j.complained,
      'unsubscribed', j.unsubscribed, 'attempt', j.attempts + 1, 'claim', claim, 'refusal', case when j.verdict in ('expired', 'suppressed') then j.reason end, 'suppressed', j.verdict = 'suppressed',
      'account', case when j.account_id is not null then jsonb_build_object('id', j.account_id, 'provider', j.provider, 'config', j.config,
        'status', j.account_status, 'masterVersion', j.master_version, 'credentials', encode(j.credentials, 'hex'),
        'dataKey', encode(j.data_key, 'hex')) end) order by j.next_attempt_at, j.id) filter (where j.verdict <> 'held'), '[]'))
    into answer from judged j;
  return answer;
end $$;

-- Moves deliveries on, unless one is no longer as the caller found it; what was said of them goes into the ledger.
-- One element: { id, was: { status, complained, unsubscribed }, status, complained, unsubscribed, entries: [{ id, status, details }] },
-- and of an attempt { claim, error, providerMessageId?, againInSeconds? }.
create or replace function public.record_receipts(changes jsonb) returns boolean language plpgsql as $$
declare t uuid := current_tenant();
begin
  perform 1 from deliveries d where d.tenant_id = t and d.id in (select (c ->> 'id')::uuid from jsonb_array_elements(changes) c)
    order by d.id for no key update;
  perform refuse_unless(not exists (
    select 1 from jsonb_to_recordset(changes) c(id uuid, was jsonb, claim timestamptz, entries jsonb)
      left join deliveries d on d.tenant_id = t and d.id = c.id
     where d.id is null or jsonb_build_object('status', d.status, 'complained', d.complained, 'unsubscribed', d.unsubscribed) <> c.was
       or (c.claim is not null and d.claimed_until is distinct from c.claim)
       or exists (select 1 from jsonb_to_recordset(c.entries) e(id uuid) join delivery_events o on o.tenant_id = t and o.id = e.id)), 'conflict');
  update deliveries d set
      status = c.status, complained = c.complained, unsubscribed = c.unsubscribed, updated_at = now(),
      provider_message_id = coalesce(c."providerMessageId", d.provider_message_id),
      error = case when c.claim is null then d.error else c.error end,
      claimed_until = case when c.claim is null then d.claimed_until end,
      next_attempt_at = case when c."againInSeconds" is null then d.next_attempt_at else now() + make_interval(secs => c."againInSeconds") end
    from jsonb_to_recordset(changes) c(id uuid, status text, complained boolean, unsubscribed boolean, claim timestamptz, error text,
      "providerMessageId" text, "againInSeconds" float8)
   where d.tenant_id = t and d.id = c.id;
  insert into delivery_events (tenant_id, id, delivery_id, status, details)
    select t, e.id, c.id, e.status, e.details from jsonb_to_recordset(changes) c(id uuid, entries jsonb)
      cross join lateral jsonb_to_recordset(c.entries) e(id uuid, status text, details jsonb);
  return true;
end $$;

-- What is still sealed under one of these master secrets, in the order of tables and ids.
create or replace function door.sealed_under(versions text[], after jsonb, most int)
returns table (kind text, tenant_id uuid, id uuid, owner_id uuid, sealed bytea, master_version text)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select * from (
    (select 'integrations' as kind, i.tenant_id, i.id, i.id as owner_id, i.data_key as sealed, i.master_version from integrations i
      where i.master_version = any (versions)
        and (after is null or (after ->> 'kind' = 'integrations' and (i.tenant_id, i.id) > ((after ->> 'tenantId')::uuid, (after ->> 'id')::uuid)))
      order by i.tenant_id, i.id limit most)
    union all
    (select 'webhook_secrets', s.tenant_id, s.id, s.webhook_id, s.sealed, s.master_version from webhook_secrets s
      where s.master_version = any (versions)
        and (after is null or after ->> 'kind' = 'integrations' or (s.tenant_id, s.id) > ((after ->> 'tenantId')::uuid, (after ->> 'id')::uuid))
      order by s.tenant_id, s.id limit most)) x
  order by kind, tenant_id, id limit most
$$;

-- Whatever was sealed anew meanwhile is left alone. Returns how many were not.
create or replace function door.reseal(resealed jsonb) returns int
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
  with r as (select x.kind, x.t, x.id, decode(x.was, 'hex') as was, decode(x.sealed, 'hex') as sealed, x.version
      from jsonb_to_recordset(resealed) x(kind text, t uuid, id uuid, was text, sealed text, version text)),
    keys as (update integrations i set data_key = r.sealed, master_version = r.version from r
      where r.kind = 'integrations' and i.tenant_id = r.t and i.id = r.id and i.data_key = r.was returning 1),
    secrets as (update webhook_secrets s set sealed = r.sealed, master_version = r.version from r
      where r.kind = 'webhook_secrets' and s.tenant_id = r.t and s.id = r.id and s.sealed = r.was returning 1)
  select (select count(*) from keys)::int + (select count(*) from secrets)::int
$$;
