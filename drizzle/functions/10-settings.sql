create or replace function public.current_tenant() returns uuid language sql stable parallel safe as
$$ select nullif(current_setting('app.tenant_id', true), '')::uuid $$;

create or replace function public.current_user_id() returns uuid language sql stable parallel safe as
$$ select nullif(current_setting('app.user_id', true), '')::uuid $$;

-- The deployment itself is the tenant without digits: its keys manage tenants and plans.
create or replace function public.is_deployment() returns boolean language sql stable parallel safe as
$$ select current_tenant() = '00000000-0000-0000-0000-000000000000' $$;

-- Ends the batch with a code of the error table; `facts` become members of the answer.
create or replace function public.refuse(code text, facts jsonb default '{}') returns boolean language plpgsql as $$
begin
  raise exception '%', code using errcode = 'PA400', detail = (facts || jsonb_build_object('code', code))::text;
end $$;

create or replace function public.refuse_unless(ok boolean, code text, facts jsonb default '{}') returns boolean
language plpgsql as $$
begin
  if ok is not true then perform refuse(code, facts); end if;
  return true;
end $$;

create or replace function public.refuse_field(path text, message text) returns boolean language sql as $$
  select refuse('invalid_request', jsonb_build_object('errors', jsonb_build_array(jsonb_build_object('path', path, 'message', message))))
$$;

-- After the rows of a batch are written: the tenant may not hold more than `most` of this metric.
create or replace function public.refuse_over_limit(metric text, most bigint) returns boolean language plpgsql as $$
declare used bigint; added bigint := coalesce(nullif(current_setting('app.added_' || metric, true), '')::bigint, 0);
begin
  select u.value into used from usage_totals u where u.tenant_id = current_tenant() and u.metric = refuse_over_limit.metric;
  if used > most and added > 0 then
    perform refuse('plan_limit_reached', jsonb_build_object('metric', metric, 'limit', most, 'use', used - added, 'reset', null));
  end if;
  return true;
end $$;

-- Member by member; null takes a member out. What a tenant merges again and again stays bounded.
create or replace function public.merged_json(old jsonb, patch jsonb) returns jsonb language plpgsql as $$
declare merged jsonb := (old || patch) - array(select e.key from jsonb_each(patch) e where e.value = 'null');
begin
  if octet_length(merged::text) > 32768 then
    perform refuse('invalid_request', '{"errors": [{"path": "metadata", "message": "Merged with what is there it would take more than 32 KiB."}]}');
  end if;
  return merged;
end $$;

-- What the audit log shows: secrets are taken out by their names, however deep they stand.
create or replace function public.redacted_json(value jsonb) returns jsonb language plpgsql immutable as $$
begin
  return case jsonb_typeof(value)
    when 'object' then (select coalesce(jsonb_object_agg(e.key, case when e.key ~* 'secret|hash|token|password|credential'
      then '"[redacted]"' else redacted_json(e.value) end), '{}') from jsonb_each(value) e)
    when 'array' then (select coalesce(jsonb_agg(redacted_json(e.value) order by e.n), '[]')
      from jsonb_array_elements(value) with ordinality e(value, n))
    else value end;
end $$;

-- An entry as src/tenants/audit.ts makes it.
create or replace function public.record_audit(entry jsonb) returns void language plpgsql as $$
begin
  insert into audit_logs (tenant_id, id, actor_kind, actor_id, user_id, action, target_type, target_id, after, ip, user_agent, request_id)
    values (current_tenant(), (entry ->> 'id')::uuid, entry ->> 'actorKind', (entry ->> 'actorId')::uuid, current_user_id(), entry ->> 'action',
      entry ->> 'targetType', entry ->> 'targetId', entry -> 'after', (entry ->> 'ip')::inet, entry ->> 'userAgent', entry ->> 'requestId');
end $$;

-- Stands right after door.enter: the first caller goes on, later ones wait for it and receive what it returned.
create or replace function public.once(key text, print text, seed text) returns boolean language plpgsql as $$
declare t uuid := current_tenant(); old idempotency_keys;
begin
  perform set_config('lock_timeout', '5s', true);
  insert into idempotency_keys (tenant_id, key, fingerprint, seed) values (t, once.key, print, once.seed)
    on conflict do nothing;
  if found then
    perform set_config('lock_timeout', '0', true);
    perform set_config('app.once', once.key, true);
    return true;
  end if;
  select * into old from idempotency_keys k where k.tenant_id = t and k.key = once.key;
  perform refuse_unless(old.fingerprint = print, 'idempotency_key_reused');
  raise exception 'replay' using errcode = 'PA200',
    detail = jsonb_build_object('seed', old.seed, 'answer', old.answer)::text;
end $$;

-- Keeps what one statement of the batch returned, in the order of the statements.
create or replace function public.remember(returned jsonb) returns boolean language sql as $$
  update idempotency_keys set answer = answer || jsonb_build_array(coalesce(returned, '[]'))
   where tenant_id = current_tenant() and key = current_setting('app.once')
  returning true
$$;

-- What isolates cache carries the tenant's config_version; changing it makes every cached copy stale.
create or replace function public.config_changed() returns trigger language plpgsql as $$
begin
  update tenants set config_version = config_version + 1 where id in (select distinct tenant_id from changed);
  return null;
end $$;

create or replace function public.blocks_changed() returns trigger language plpgsql as $$
begin
  update tenants set block_version = block_version + 1 where id in (select distinct tenant_id from changed);
  return null;
end $$;

create or replace function public.tenant_changed() returns trigger language plpgsql as $$
begin
  if (new.settings, new.plan_id, new.suspended_at, new.deleted_at, new.name)
     is distinct from (old.settings, old.plan_id, old.suspended_at, old.deleted_at, old.name) then
    new.config_version := old.config_version + 1;
  end if;
  return new;
end $$;

-- What a row counts for: arguments of count_standing name it.
create or replace function public.standing_worth(named text, r jsonb) returns bigint language sql immutable as $$
  select case named when 'size' then (r ->> 'size')::bigint when 'chat' then (r ->> 'medium' = 'chat')::int::bigint
    else (r -> 'deleted_at' = 'null')::int::bigint end
$$;

-- Adds up a standing quantity: arguments are the metric and what one row counts for, itself where it says 'row'. A refusal over the
-- limit needs to know what the transaction itself has added.
create or replace function public.count_standing() returns trigger language plpgsql as $$
declare sums jsonb; s record; own bigint;
begin
  if tg_op = 'UPDATE' then
    select jsonb_object_agg(x.tenant_id, x.worth) into sums from (select y.tenant_id, sum(y.worth) as worth from (
        select c.tenant_id, standing_worth(tg_argv[1], to_jsonb(c)) as worth from changed c
        union all select f.tenant_id, -standing_worth(tg_argv[1], to_jsonb(f)) from former f) y group by 1) x where x.worth <> 0;
  else
    select jsonb_object_agg(x.tenant_id, case tg_op when 'DELETE' then -x.worth else x.worth end) into sums from (
      select c.tenant_id, sum(case tg_argv[1] when 'row' then 1 else standing_worth(tg_argv[1], to_jsonb(c)) end) as worth from changed c group by 1) x
     where x.worth <> 0;
  end if;
  if sums is null then return null; end if;
  for s in select e.key::uuid as tenant_id, e.value::bigint as worth from jsonb_each_text(sums) e order by 1 loop
    update usage_totals u set value = u.value + s.worth where u.tenant_id = s.tenant_id and u.metric = tg_argv[0];
    if not found and tg_op = 'INSERT' then
      insert into usage_totals as u (tenant_id, metric, value) values (s.tenant_id, tg_argv[0], s.worth)
        on conflict (tenant_id, metric) do update set value = u.value + excluded.value;
    end if;
    if s.tenant_id = current_tenant() then
      own := coalesce(nullif(current_setting('app.added_' || tg_argv[0], true), '')::bigint, 0) + s.worth;
      perform set_config('app.added_' || tg_argv[0], own::text, true);
    end if;
  end loop;
  return null;
end $$;
