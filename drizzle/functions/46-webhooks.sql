grant select on events to parley_door;
grant select, update on webhook_deliveries to parley_door;
grant insert, update on webhook_health to parley_door;
grant insert on webhook_attempts to parley_door;
do $$
declare p record;
begin
  for p in select * from (values ('events', 'select'), ('webhook_deliveries', 'select'), ('webhook_deliveries', 'update'),
    ('webhook_health', 'insert'), ('webhook_health', 'update'), ('webhook_attempts', 'insert')) v(name, verb) loop
    execute format('drop policy if exists door_%s on public.%I', p.verb, p.name);
    execute format('create policy door_%1$s on public.%2$I for %1$s to parley_door %3$s', p.verb, p.name,
      case p.verb when 'select' then 'using (true)' when 'insert' then 'with check (true)' else 'using (true) with check (true)' end);
  end loop;
end $$;

-- A delivery is claimed and settled soon after it was made: its versions find room beside it, and no index hears of a claim.
alter table webhook_deliveries set (fillfactor = 70);
alter table webhook_health set (fillfactor = 50);

-- What a crash or a lost queue message left behind. What waits for its turn in an ordered channel is not due.
create or replace function door.due_deliveries(most int) returns table (tenant_id uuid, id uuid)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select d.tenant_id, d.id from webhook_deliveries d
   where d.status = 'pending' and d.next_attempt_at <= now() - interval '1 second' and (d.claimed_until is null or d.claimed_until <= now())
     and (d.order_key is null or not exists (select 1 from webhook_deliveries e where e.tenant_id = d.tenant_id
       and e.webhook_id = d.webhook_id and e.order_key = d.order_key and e.order_seq < d.order_seq and e.status = 'pending'))
   order by d.next_attempt_at limit most
$$;

-- Takes deliveries for one consumer: with all it needs to send them, and when to look again at those it may not send now.
-- Each is found by its key, however many wait: no join of another kind, and a status that the index of those that wait does not know.
create or replace function door.claim_deliveries(asked jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare answer jsonb;
begin
  with locked as materialized (
      select d.* from webhook_deliveries d join jsonb_to_recordset(asked) a(t uuid, id uuid) on d.tenant_id = a.t and d.id = a.id
       where d.status <> all (array['delivered', 'exhausted', 'cancelled']) and d.next_attempt_at <= now() + interval '1 second'
         and (d.claimed_until is null or d.claimed_until <= now())
       order by d.tenant_id, d.id for update of d skip locked),
    -- Of endpoints with a pace, and of those that get one probe, consumers count one after the other.
    counted_one_by_one as materialized (select h.* from webhook_health h
       where (h.tenant_id, h.webhook_id) in (select l.tenant_id, l.webhook_id from locked l
         join webhooks w on w.tenant_id = l.tenant_id and w.id = l.webhook_id
         left join webhook_health x on x.tenant_id = l.tenant_id and x.webhook_id = l.webhook_id
        where w.per_second is not null or x.failed_attempts >= 5)
       order by h.tenant_id, h.webhook_id for update of h),
    placed as (select d.*, w.url, w.headers, w.timeout_ms, w.retry_count, w.per_second, w.enabled, coalesce(h.status, 'active') as health,
        coalesce(c.paused_until, h.paused_until) as paused_until, coalesce(h.failed_attempts, 0) >= 5 as half_open, coalesce(h.slow, false) as slow,
        case when c.window_at = date_trunc('second', now()) then c.window_used else 0 end as used,
        d.order_key is not null and exists (select 1 from webhook_deliveries e where e.tenant_id = d.tenant_id
          and e.webhook_id = d.webhook_id and e.order_key = d.order_key and e.order_seq < d.order_seq and e.status = 'pending') as waits
      from locked d join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id
      left join webhook_health h on h.tenant_id = d.tenant_id and h.webhook_id = d.webhook_id
      left join counted_one_by_one c on c.tenant_id = d.tenant_id and c.webhook_id = d.webhook_id),
    ranked as (select p.*, row_number() over (partition by tenant_id, webhook_id, waits order by created_at, id) as nth from placed p),
    judged as (select r.*, case
        when not enabled or health = 'disabled' then 'cancel'
        when waits then 'wait'
        when paused_until > now() then 'later'
        when half_open and nth > 1 then 'later'
        when per_second is not null and used + nth > per_second then 'later'
        else 'go' end as verdict,
        case when paused_until > now() then paused_until + make_interval(secs => random())
          when half_open then now() + interval '5 seconds'
          else date_trunc('second', now()) + make_interval(secs => ceil((used + nth)::float8 / per_second) - 1) end as again
      from ranked r),
    secret as materialized (select tenant_id, webhook_id, door.live_secrets(tenant_id, webhook_id) as live
      from judged where verdict = 'go' group by 1, 2),
    marked as (update webhook_deliveries d set
        claimed_until = case j.verdict when 'go' then now() + make_interval(secs => 60 + j.timeout_ms / 1000) end,
        status = case j.verdict when 'cancel' then 'cancelled' else d.status end,
        completed_at = case j.verdict when 'cancel' then now() end,
        next_attempt_at = case j.verdict when 'later' then j.again else d.next_attempt_at end
      from judged j where d.tenant_id = j.tenant_id and d.id = j.id and j.verdict <> 'wait' returning d.id),
    counted as (update webhook_health h set window_at = date_trunc('second', now()), window_used = j.used + j.sent,
        paused_until = case when j.half_open then now() + interval '35 seconds' else h.paused_until end
      from (select tenant_id, webhook_id, max(used) as used, bool_or(half_open) as half_open, count(*) as sent
        from judged where verdict = 'go' and (per_second is not null or half_open) group by 1, 2) j
      where h.tenant_id = j.tenant_id and h.webhook_id = j.webhook_id returning 1)
  select jsonb_build_object(
      'go', coalesce((select jsonb_agg(jsonb_build_object('tenantId', j.tenant_id, 'id', j.id, 'webhookId', j.webhook_id, 'eventId', j.event_id,
          'url', j.url, 'headers', j.headers, 'timeoutMs', j.timeout_ms, 'retryCount', j.retry_count, 'attempts', j.attempts,
          'trigger', j.trigger, 'slow', j.slow, 'ordered', j.order_key is not null, 'type', e.type, 'payload', e.payload,
          'secrets', s.live) order by j.slow, j.created_at)
        from judged j join events e on e.tenant_id = j.tenant_id and e.id = j.event_id
          join secret s on s.tenant_id = j.tenant_id and s.webhook_id = j.webhook_id where j.verdict = 'go'), '[]'),
      'later', coalesce((select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'id', id,
          'seconds', greatest(0, extract(epoch from again - now())))) from judged where verdict = 'later'), '[]'))
    into answer;
  return answer;
end $$;

-- Keeps what attempts brought, and what they tell of their endpoints. One that was the last stays pending for a
-- moment: giving up is done together with its event.
create or replace function door.record_attempts(results jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare answer jsonb;
begin
  -- What was deleted meanwhile has no log and no health, and must not keep the others' results from being kept.
  with result as materialized (select r.* from jsonb_to_recordset(results) r(n int, t uuid, attempt uuid, webhook uuid, delivery uuid, type text,
        trigger text, url text, status int, ok boolean, ms int, request_headers jsonb, response_headers jsonb, response_body text, error text,
        address text, outcome text, seconds float8, pause float8, failed boolean, slow boolean)
      join webhook_deliveries d on d.tenant_id = r.t and d.id = r.delivery),
    settled as (update webhook_deliveries d set
        attempts = d.attempts + 1,
        trigger = 'retry',
        status = case r.outcome when 'delivered' then 'delivered' when 'cancelled' then 'cancelled' else d.status end,
        completed_at = case when r.outcome in ('delivered', 'cancelled') then now() end,
        next_attempt_at = case r.outcome when 'retry' then now() + make_interval(secs => r.seconds) else now() end,
        claimed_until = case r.outcome when 'exhausted' then now() + interval '60 seconds' end
      from result r where d.tenant_id = r.t and d.id = r.delivery and d.status <> all (array['delivered', 'exhausted', 'cancelled']) returning 1),
    logged as (insert into webhook_attempts (tenant_id, id, webhook_id, delivery_id, event_type, trigger, url, status, ok, ms, request_headers,
        response_headers, response_body, error, address)
      select r.t, r.attempt, r.webhook, r.delivery, r.type, r.trigger, r.url, r.status, r.ok, r.ms, r.request_headers, r.response_headers,
        r.response_body, r.error, r.address from result r),
    -- Deliveries first, then what is known of their endpoints: in the order in which whoever claims them takes locks.
    heard as (select t, webhook, max(n) filter (where ok) as last_ok, bool_or(slow) as slow,
        count(*) filter (where not ok) as failures, count(*) filter (where failed) as events_failed, max(pause) as pause
      from result cross join (select count(*) from settled) first group by t, webhook),
    health as (insert into webhook_health as h (tenant_id, webhook_id, failure_count, failed_attempts, failing_since, last_success_at,
          last_failure_at, paused_until, slow)
        select t, webhook, case when last_ok is null then events_failed else 0 end,
          (select count(*) from result r where r.t = heard.t and r.webhook = heard.webhook and not r.ok and r.n > coalesce(last_ok, -1)),
          case when last_ok is null then now() end, case when last_ok is not null then now() end, case when failures > 0 then now() end,
          now() + make_interval(secs => pause), slow
        from heard order by t, webhook
      on conflict (tenant_id, webhook_id) do update set
        failure_count = case when excluded.last_success_at is null then h.failure_count + excluded.failure_count else 0 end,
        failed_attempts = case when excluded.last_success_at is null then h.failed_attempts else 0 end + excluded.failed_attempts,
        failing_since = case when excluded.last_success_at is null then coalesce(h.failing_since, now()) end,
        last_success_at = coalesce(excluded.last_success_at, h.last_success_at),
        last_failure_at = coalesce(excluded.last_failure_at, h.last_failure_at),
        paused_until = case
          when excluded.failed_attempts > 0 and h.failed_attempts + excluded.failed_attempts >= 5 and excluded.last_success_at is null
            then greatest(excluded.paused_until, now() + make_interval(secs => least(300, 30 * 2 ^ least(h.failed_attempts + excluded.failed_attempts - 5, 6))))
          else excluded.paused_until end,
        slow = excluded.slow
      -- One success after another says nothing new.
      where excluded.last_failure_at is not null or h.failure_count > 0 or h.failed_attempts > 0 or h.failing_since is not null
        or h.paused_until is not null or h.slow <> excluded.slow or h.status <> 'active'
        or h.last_success_at is null or h.last_success_at < now() - interval '1 second'
      returning h.tenant_id, h.webhook_id, h.status, h.failure_count, h.failing_since, h.last_success_at)
  select jsonb_build_object(
      'health', coalesce((select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'webhookId', webhook_id, 'change', case
            when status = 'active' and failure_count >= 4 then 'warning'
            when status <> 'disabled' and failing_since < now() - interval '5 days' then 'disabled'
            when status = 'warning' and failing_since is null then 'recovered' end))
          from health where (status = 'active' and failure_count >= 4) or (status <> 'disabled' and failing_since < now() - interval '5 days')
            or (status = 'warning' and failing_since is null)), '[]'))
    into answer;
  return answer;
end $$;

-- Claimed and not begun.
create or replace function door.release_deliveries(places jsonb) returns void
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
  update webhook_deliveries d set claimed_until = null
    from jsonb_to_recordset(places) p(t uuid, id uuid) where d.tenant_id = p.t and d.id = p.id and d.status = 'pending'
$$;

-- Of each ordered delivery that is settled: the one that may go next.
create or replace function door.followers(settled jsonb) returns table (tenant_id uuid, id uuid)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select s.tenant_id, n.id from jsonb_to_recordset(settled) p(t uuid, id uuid)
    join webhook_deliveries s on s.tenant_id = p.t and s.id = p.id and s.order_key is not null and s.status <> 'pending'
    cross join lateral (select e.id from webhook_deliveries e where e.tenant_id = s.tenant_id and e.webhook_id = s.webhook_id
      and e.order_key = s.order_key and e.status = 'pending' order by e.order_seq limit 1) n
$$;

-- What one call that somebody waited for tells of its endpoint; the change of status that follows from it.
create or replace function public.hear_of_call(webhook uuid, ok boolean) returns text language plpgsql as $$
declare h webhook_health;
begin
  update webhook_health x set failure_count = case when ok then 0 else x.failure_count + 1 end,
      failing_since = case when not ok then coalesce(x.failing_since, now()) end,
      last_success_at = case when ok then now() else x.last_success_at end,
      last_failure_at = case when ok then x.last_failure_at else now() end
    where x.tenant_id = current_tenant() and x.webhook_id = webhook
      -- One success after another says nothing new.
      and (not ok or x.failing_since is not null or x.status <> 'active' or x.last_success_at is null or x.last_success_at < now() - interval '1 second')
    returning * into h;
  return case when h.status <> 'disabled' and h.failing_since < now() - interval '5 days' then 'disabled'
    when h.status = 'active' and h.failure_count >= 4 then 'warning'
    when h.status = 'warning' and h.failing_since is null then 'recovered' end;
end $$;

create or replace function public.touch_config() returns boolean language sql as
$$ update tenants set config_version = config_version + 1 where id = current_tenant() returning true $$;

