-- Jobs are claimed, and what is too old removed, for all tenants at once.
grant select, delete, update (status, attempts, locked_until, started_at, finished_at, error) on scheduled_jobs to parley_door;
grant select, delete on audit_logs, revoked_tokens, socket_tickets, idempotency_keys, events, webhook_attempts, webhook_secrets to parley_door;
grant select on webhooks, webhook_deliveries to parley_door;
-- Removing an endpoint's secret makes what isolates cache of its tenant stale.
grant update (config_version, block_version) on tenants to parley_door;
do $$
declare t text;
begin
  foreach t in array array['scheduled_jobs', 'audit_logs', 'revoked_tokens', 'socket_tickets', 'idempotency_keys', 'events',
    'webhook_attempts', 'webhook_secrets', 'webhooks', 'webhook_deliveries'] loop
    execute format('drop policy if exists door on public.%I', t);
    execute format('create policy door on public.%I for select to parley_door using (true)', t);
  end loop;
  foreach t in array array['scheduled_jobs', 'audit_logs', 'revoked_tokens', 'socket_tickets', 'idempotency_keys', 'events',
    'webhook_attempts', 'webhook_secrets'] loop
    execute format('drop policy if exists door_delete on public.%I', t);
    execute format('create policy door_delete on public.%I for delete to parley_door using (true)', t);
  end loop;
  foreach t in array array['scheduled_jobs', 'tenants'] loop
    execute format('drop policy if exists door_update on public.%I', t);
    execute format('create policy door_update on public.%I for update to parley_door using (true) with check (true)', t);
  end loop;
end $$;

-- Takes up these jobs: they are the caller's for the lease, and as long as it goes on saving. One that was cut off too
-- often has failed.
create or replace function public.take_jobs(jobs scheduled_jobs[], lease_seconds int) returns jsonb language plpgsql as $$
declare taken jsonb;
begin
  with took as (
    update scheduled_jobs j
       set status = case when x.lives then 'running' else 'failed' end,
           attempts = case when x.lives then j.attempts + 1 else j.attempts end,
           error = case when x.lives then j.error else format('It was cut off %s times.', j.attempts) end,
           finished_at = case when x.lives then null else now() end,
           locked_until = case when x.lives then greatest(clock_timestamp(), j.run_at) + make_interval(secs => lease_seconds) end,
           started_at = greatest(clock_timestamp(), j.run_at)
      from (select y.tenant_id, y.id, y.attempts < y.max_attempts as lives from unnest(jobs) y) x
     where j.tenant_id = x.tenant_id and j.id = x.id
    returning j.*)
  select jsonb_agg(jsonb_build_object('tenantId', tenant_id, 'id', id, 'type', type, 'payload', payload, 'cursor', cursor,
      'progress', progress_done, 'total', progress_total, 'attempt', attempts, 'token', started_at,
      'waitMs', ceil(greatest(0, extract(epoch from run_at - clock_timestamp()) * 1000))) order by run_at)
    into taken from took where status = 'running';
  return coalesce(taken, '[]');
end $$;

-- Those named, as far as they are due within a moment and nobody has them. What a deleted tenant had to do is not done.
create or replace function door.claim_jobs(wanted jsonb, types text[], ahead_ms int, lease_seconds int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  return take_jobs(array(
    select j from jsonb_to_recordset(wanted) w("tenantId" uuid, "jobId" uuid)
      join scheduled_jobs j on j.tenant_id = w."tenantId" and j.id = w."jobId"
      join tenants t on t.id = j.tenant_id and t.deleted_at is null
     where j.status in ('pending', 'running') and j.run_at <= clock_timestamp() + make_interval(secs => ahead_ms / 1000.0)
       and j.type = any (types) and (j.locked_until is null or j.locked_until <= clock_timestamp())
       for update of j skip locked), lease_seconds);
end $$;

-- Whatever is overdue, the longest waiting first.
create or replace function door.claim_due_jobs(types text[], most int, lease_seconds int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  return take_jobs(array(
    select j from scheduled_jobs j join tenants t on t.id = j.tenant_id and t.deleted_at is null
     where j.status in ('pending', 'running') and j.run_at <= now() and j.type = any (types)
       and (j.locked_until is null or j.locked_until <= now())
     order by j.run_at limit most for update of j skip locked), lease_seconds);
end $$;

-- What nobody has and is due by then, for the queue.
create or replace function door.jobs_due_within(types text[], seconds int, most int) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', d.tenant_id, 'id', d.id, 'runAt', d.run_at)), '[]') from (
    select j.tenant_id, j.id, j.run_at from scheduled_jobs j join tenants t on t.id = j.tenant_id and t.deleted_at is null
     where j.status in ('pending', 'running') and j.run_at <= now() + make_interval(secs => seconds) and j.type = any (types)
       and (j.locked_until is null or j.locked_until <= now())
     order by j.run_at limit most) d
$$;

-- Stands in the batch of a step's own writes. `token` is the moment the job was taken up: whoever comes with another
-- one has lost the job, and with it what they wrote.
create or replace function public.save_job(job uuid, token timestamptz, lease_seconds int, done boolean, cursor jsonb,
  progress int, keeps_total boolean, total int, result jsonb) returns int language plpgsql as $$
declare saved int;
begin
  update scheduled_jobs j
     set cursor = coalesce(save_job.cursor, j.cursor),
         progress_done = coalesce(progress, j.progress_done),
         progress_total = case when keeps_total then j.progress_total else total end,
         result = coalesce(save_job.result, j.result),
         status = case when done then 'completed' else j.status end,
         finished_at = case when done then now() end,
         locked_until = case when done then null else clock_timestamp() + make_interval(secs => lease_seconds) end,
         attempts = 1,
         error = null
   where j.tenant_id = current_tenant() and j.id = job and j.started_at = token and j.status = 'running'
  returning j.progress_done into saved;
  if not found then raise exception 'job lost' using errcode = 'PA423'; end if;
  return saved;
end $$;

-- What is kept as long as the tenant's plan says. Found in the index that has the age behind the tenant.
create or replace function public.remove_expired_of(tenant uuid, data text, cutoff timestamptz, most int) returns int
language plpgsql as $$
declare removed int;
begin
  case data
    when 'auditLogs' then
      delete from audit_logs where ctid = any (array(
        select x.ctid from audit_logs x where x.tenant_id = tenant and x.created_at < cutoff order by x.created_at limit most));
    when 'events' then
      delete from events where ctid = any (array(
        select x.ctid from events x where x.tenant_id = tenant and x.created_at < cutoff and not exists (
            select 1 from webhook_deliveries d where d.tenant_id = x.tenant_id and d.event_id = x.id and d.status = 'pending')
         order by x.created_at limit most));
    when 'trashedConversations' then
      delete from channels where ctid = any (array(
        select x.ctid from channels x where x.tenant_id = tenant and x.trashed_at < cutoff and x.merged_into is null order by x.trashed_at, x.id limit most));
    when 'webhookAttempts' then
      delete from webhook_attempts where ctid = any (array(
        select x.place from webhooks w cross join lateral (select a.ctid as place from webhook_attempts a
            where a.tenant_id = w.tenant_id and a.webhook_id = w.id and a.created_at < cutoff order by a.created_at limit most) x
         where w.tenant_id = tenant limit most));
  end case;
  get diagnostics removed = row_count;
  return removed;
end $$;

-- What is kept equally long for everybody. Found in the index by its age.
create or replace function public.remove_expired_of_all(data text, cutoff timestamptz, most int) returns int
language plpgsql as $$
declare removed int;
begin
  case data
    when 'idempotencyKeys' then
      delete from idempotency_keys where ctid = any (array(
        select x.ctid from idempotency_keys x where x.created_at < cutoff order by x.created_at limit most));
    when 'revokedTokens' then
      delete from revoked_tokens where ctid = any (array(
        select x.ctid from revoked_tokens x where x.expires_at < cutoff order by x.expires_at limit most));
    when 'socketTickets' then
      delete from socket_tickets where ctid = any (array(
        select x.ctid from socket_tickets x where x.expires_at < cutoff order by x.expires_at limit most));
    when 'webhookSecrets' then
      delete from webhook_secrets where ctid = any (array(
        select x.ctid from webhook_secrets x where x.expires_at < cutoff order by x.expires_at limit most));
    when 'suppressions' then
      delete from suppressions where ctid = any (array(
        select x.ctid from suppressions x where x.expires_at < cutoff order by x.expires_at limit most));
    when 'bounces' then
      delete from bounces where ctid = any (array(
        select x.ctid from bounces x where x.created_at < cutoff order by x.created_at limit most));
    when 'providerCallbacks' then
      delete from provider_callbacks where ctid = any (array(
        select x.ctid from provider_callbacks x where x.created_at < cutoff order by x.created_at limit most));
    when 'finishedJobs' then
      delete from scheduled_jobs where ctid = any (array(
        select x.ctid from scheduled_jobs x where x.finished_at < cutoff and x.status <> 'failed' order by x.finished_at limit most));
    when 'failedJobs' then
      delete from scheduled_jobs where ctid = any (array(
        select x.ctid from scheduled_jobs x where x.finished_at < cutoff and x.status = 'failed' order by x.finished_at limit most));
  end case;
  get diagnostics removed = row_count;
  return removed;
end $$;

-- Removes at most so many rows that have been kept long enough, and says at which tenant to go on. A call visits a
-- bounded number of tenants, and gives up nothing within a day.
create or replace function door.remove_expired(data text, days int, by_tenant boolean, plan_limit text, place uuid, most int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare visits_most constant int := 500; visits int := 0; removed int := 0; following uuid; t record;
begin
  if not by_tenant then
    removed := remove_expired_of_all(data, now() - make_interval(days => greatest(days, 1)), most);
    return jsonb_build_object('removed', removed, 'next', case when removed >= most then place end);
  end if;
  for t in
    select x.id, least(coalesce((p.limits ->> plan_limit)::numeric, days), 36500)::int as keep
      from tenants x left join plans p on p.id = x.plan_id
     where x.id >= place and x.deleted_at is null order by x.id limit visits_most + 1
  loop
    if visits = visits_most then following := t.id; exit; end if;
    visits := visits + 1;
    removed := removed + remove_expired_of(t.id, data, now() - make_interval(days => greatest(t.keep, 1)), most - removed);
    if removed >= most then following := t.id; exit; end if;
  end loop;
  return jsonb_build_object('removed', removed, 'next', following);
end $$;

call hand_over_doors();
