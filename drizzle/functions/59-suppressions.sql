-- Who is sent nothing any more, in which stream, and why.

-- Nothing may go out to somebody who was suppressed after the message was recorded (door.claim_outbound); and all of it
-- goes in time (door.remove_expired).
grant select on suppressions to parley_door;
grant select, delete on bounces, provider_callbacks to parley_door;
grant delete on suppressions to parley_door;
do $$
declare t text;
begin
  foreach t in array array['suppressions', 'bounces', 'provider_callbacks'] loop
    execute format('drop policy if exists door_select on public.%I', t);
    execute format('create policy door_select on public.%I for select to parley_door using (true)', t);
    execute format('drop policy if exists door_delete on public.%I', t);
    execute format('create policy door_delete on public.%I for delete to parley_door using (true)', t);
  end loop;
end $$;

create or replace function public.suppressed_reason_of(tenant uuid, address text, stream text) returns text language plpgsql stable as $$
begin
  return (select s.reason from suppressions s
   where s.tenant_id = tenant and s.address = suppressed_reason_of.address and s.stream in ('*', suppressed_reason_of.stream)
     and (s.expires_at is null or s.expires_at > now())
   order by array_position(array['complaint', 'unsubscribe', 'bounce', 'provider', 'manual', 'softBounces'], s.reason) limit 1);
end $$;

-- Why nothing may be sent to an address in a stream; null where something may.
create or replace function public.suppressed_reason(address text, stream text) returns text language sql stable as $$
  select suppressed_reason_of(current_tenant(), lower(address), stream)
$$;

-- An event of the tenant's for each; `more` stands beside what the suppression itself says.
create or replace function public.tell_suppressions(named text, rows suppressions[], more jsonb, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language sql volatile as $$
  select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(coalesce((select jsonb_agg(jsonb_build_object('n', x.n, 'id', gen_random_uuid(), 'kind', 'tenant', 'stream', current_tenant(),
        'type', named, 'data', x.data::text, 'webhooks', coalesce((select jsonb_agg(w) from jsonb_array_elements(hooks -> named) w
          where coalesce(w -> 'scopes', '[]') in ('[]', '[{"kind": "medium", "value": "email"}]') and passes_filter(w -> 'filter', x.data)), '[]')))
      from (select s.n, jsonb_build_object('suppressionId', s.id, 'address', s.address, 'stream', s.stream, 'reason', s.reason,
          'deliveryId', s.delivery_id, 'messageId', s.message_id, 'expiresAt', to_char(s.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
          || more as data from unnest(rows) with ordinality s(tenant_id, id, address, stream, reason, details, delivery_id, message_id, created_by,
          expires_at, created_at, updated_at, n)) x), '[]')) r
   where cardinality(rows) > 0
$$;

-- Elements { id, address, stream, reason, details, deliveryId, messageId, expiresAt }. What is there already is told of no more: the later
-- expiry holds, but by hand the given one.
create or replace function public.suppress(given jsonb, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); made suppressions[];
begin
  delete from suppressions s using jsonb_to_recordset(given) g(address text, stream text, reason text)
   where s.tenant_id = t and s.address = g.address and s.stream = g.stream and s.reason = g.reason and s.expires_at <= now();
  with put as (insert into suppressions as s (tenant_id, id, address, stream, reason, details, delivery_id, message_id, created_by, expires_at)
      select distinct on (g.address, g.stream, g.reason) t, g.id, g.address, g.stream, g.reason, coalesce(g.details, '{}'), g."deliveryId", g."messageId",
          current_user_id(), g."expiresAt"
        from jsonb_to_recordset(given) g(id uuid, address text, stream text, reason text, details jsonb, "deliveryId" uuid, "messageId" uuid, "expiresAt" timestamptz)
       order by g.address, g.stream, g.reason, g."expiresAt" desc nulls first
      on conflict (tenant_id, address, stream, reason) do update set updated_at = now(),
        details = case excluded.reason when 'manual' then excluded.details else s.details end,
        expires_at = case when excluded.reason = 'manual' then excluded.expires_at
          when s.expires_at is not null and excluded.expires_at is not null then greatest(s.expires_at, excluded.expires_at) end
      returning s.*, s.xmax = 0 as is_new)
  select array_agg(row(p.tenant_id, p.id, p.address, p.stream, p.reason, p.details, p.delivery_id, p.message_id, p.created_by, p.expires_at,
      p.created_at, p.updated_at)::suppressions order by p.address, p.stream, p.reason) into made from put p where p.is_new;
  return query select * from tell_suppressions('address.suppressed', made, '{}', hooks);
end $$;

-- Takes suppressions away. What a bounce is gone for starts to be counted anew.
create or replace function public.unsuppress(ids uuid[], because text, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); gone suppressions[];
begin
  with cut as (delete from suppressions s where s.tenant_id = t and s.id = any (ids) returning s.*)
  select array_agg(row(c.*)::suppressions order by c.address, c.stream, c.reason) into gone from cut c;
  if because = 'removed' then
    delete from bounces b using unnest(gone) g where b.tenant_id = t and b.address = g.address
      and (g.reason = 'bounce' or g.reason = 'softBounces' and not b.hard);
  end if;
  return query select * from tell_suppressions('address.unsuppressed', array(select g from unnest(gone) g
    where g.expires_at is null or g.expires_at > now()), jsonb_build_object('because', because), hooks);
end $$;

-- What was heard of mails that were sent: { id, deliveryId, address, what, details }, `what` being hard, soft, reached, complained, unsubscribed
-- or refused. The same comes of it in whatever order it is heard: bounces are told apart by when their mails were sent, and five soft ones in a
-- row, with no mail between that arrived, suppress the address for three days. Who does not exist is not asked again for half a year, whom the
-- provider has on a list of its own for a month; who complained or opted out, never.
create or replace function public.suppress_by_receipts(heard jsonb, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); bounced text[];
begin
  select array_agg(distinct h.address order by h.address) into bounced from jsonb_to_recordset(heard) h(address text, what text)
   where h.what in ('hard', 'soft', 'reached');
  perform pg_advisory_xact_lock(hashtextextended(t || ' bounces of ' || a, 0)) from unnest(bounced) a;
  insert into bounces as b (tenant_id, delivery_id, address, hard, sent_at)
    select t, d.id, min(h.address), bool_or(h.what = 'hard'), d.created_at
      from jsonb_to_recordset(heard) h("deliveryId" uuid, address text, what text)
      join deliveries d on d.tenant_id = t and d.id = h."deliveryId"
     where h.what = 'hard' or h.what = 'soft' and not exists (
         select 1 from deliveries o join delivery_events e on e.tenant_id = t and e.delivery_id = o.id
          where o.tenant_id = t and o.recipient = d.recipient and (o.created_at, o.id) > (d.created_at, d.id) and e.status in ('delivered', 'opened', 'clicked'))
     group by d.id, d.created_at
    on conflict (tenant_id, delivery_id) do update set hard = b.hard or excluded.hard;
  delete from bounces b using jsonb_to_recordset(heard) h("deliveryId" uuid, address text, what text), deliveries d
   where h.what = 'reached' and d.tenant_id = t and d.id = h."deliveryId" and b.tenant_id = t and b.address = h.address and not b.hard
     and (b.sent_at, b.delivery_id) < (d.created_at, d.id);
  return query select r.* from (
      select jsonb_agg(jsonb_build_object('id', h.id, 'address', h.address, 'details', h.details, 'deliveryId', d.id, 'messageId', d.message_id,
          'stream', case when h.what in ('complained', 'unsubscribed') then coalesce(d.content ->> 'stream', 'transactional') else '*' end,
          'reason', case h.what when 'hard' then 'bounce' when 'soft' then 'softBounces' when 'complained' then 'complaint'
            when 'unsubscribed' then 'unsubscribe' else 'provider' end,
          'expiresAt', case h.what when 'hard' then now() + interval '180 days' when 'soft' then now() + interval '3 days'
            when 'refused' then now() + interval '30 days' end)) as given
        from jsonb_to_recordset(heard) h(id uuid, "deliveryId" uuid, address text, what text, details jsonb)
        join deliveries d on d.tenant_id = t and d.id = h."deliveryId"
       where h.what <> 'reached' and (h.what <> 'soft' or (select count(*) from bounces b where b.tenant_id = t and b.address = h.address and not b.hard) >= 5)) x
    cross join lateral suppress(x.given, hooks) r where x.given is not null;
  return query select r.* from (select array_agg(s.id) as ids from suppressions s where s.tenant_id = t and s.address = any (bounced)
      and s.reason = 'softBounces' and (select count(*) from bounces b where b.tenant_id = t and b.address = s.address and not b.hard) < 5) x
    cross join lateral unsuppress(x.ids, 'delivered', hooks) r where x.ids is not null;
end $$;

-- A bounce of a delivery that was none counts no more: the delivery is as far as all else that was heard of it says, and it is as if its mail had
-- arrived, so that what went before does not count either. `ranks` is the order of statuses.
create or replace function public.take_back_bounce(delivery uuid, ranks text[], hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); d deliveries; folded text;
begin
  select x.* into d from deliveries x where x.tenant_id = t and x.id = delivery for no key update;
  update delivery_events e set taken_back_at = now()
   where e.tenant_id = t and e.delivery_id = delivery and e.status = 'bounced' and e.taken_back_at is null;
  if not found then return; end if;
  update deliveries x set updated_at = now(), status = coalesce((select e.status from delivery_events e
      where e.tenant_id = t and e.delivery_id = delivery and e.taken_back_at is null and array_position(ranks, e.status) > array_position(ranks, 'sent')
      order by array_position(ranks, e.status) desc limit 1), 'sent')
    where x.tenant_id = t and x.id = delivery returning x.* into d;
  return query select * from record_told(d.channel_id, 'delivery.updated', jsonb_build_object('channelId', d.channel_id, 'deliveryId', d.id,
    'messageId', d.message_id, 'medium', d.medium, 'recipient', d.recipient, 'status', d.status, 'receipt', 'bounced',
    'details', '{"takenBack": true}'::jsonb), null, hooks);
  folded := lower(btrim(d.recipient));
  perform pg_advisory_xact_lock(hashtextextended(t || ' bounces of ' || folded, 0));
  delete from bounces b where b.tenant_id = t and (b.delivery_id = delivery
    or b.address = folded and not b.hard and (b.sent_at, b.delivery_id) < (d.created_at, d.id));
  return query select r.* from (select array_agg(s.id) as ids from suppressions s where s.tenant_id = t and s.address = folded
      and (s.reason = 'bounce' and not exists (select 1 from bounces b where b.tenant_id = t and b.address = folded and b.hard)
        or s.reason = 'softBounces' and (select count(*) from bounces b where b.tenant_id = t and b.address = folded and not b.hard) < 5)) x
    cross join lateral unsuppress(x.ids, 'takenBack', hooks) r where x.ids is not null;
end $$;
