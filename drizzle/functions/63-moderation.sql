-- Flags, the review queue and its verdicts.

-- One event of a channel, or without one of the tenant, whose data is known here alone.
create or replace function public.record_told(chan uuid, named text, about jsonb, reader uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language sql volatile as $$
  select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', case when chan is null then 'tenant' else 'channel' end,
      'stream', coalesce(chan, current_tenant()), 'type', named, 'data', about::text, 'audience', reader,
      'webhooks', coalesce(case when chan is null then (select jsonb_agg(w) from jsonb_array_elements(hooks -> named) w
        where coalesce(w -> 'scopes', '[]') = '[]' and passes_filter(w -> 'filter', about)) else wanting(hooks -> named, chan, about) end, '[]')))) r
$$;

-- A ban { shadow, reason, expiresAt } in the place of any before, of a channel or of the tenant.
create or replace function public.put_ban(ban uuid, usr uuid, chan uuid, given jsonb) returns bans language plpgsql as $$
declare b bans := row(current_tenant(), ban, usr, chan, coalesce((given ->> 'shadow')::boolean, false), given ->> 'reason', current_user_id(),
  (given ->> 'expiresAt')::timestamptz, now());
begin
  if chan is null then
    insert into bans values (b.*) on conflict (tenant_id, user_id) where channel_id is null
      do update set (shadow, reason, banned_by, expires_at, created_at) = row(excluded.shadow, excluded.reason, excluded.banned_by, excluded.expires_at, now())
      returning * into b;
  else
    insert into bans values (b.*) on conflict (tenant_id, user_id, channel_id) where channel_id is not null
      do update set (shadow, reason, banned_by, expires_at, created_at) = row(excluded.shadow, excluded.reason, excluded.banned_by, excluded.expires_at, now())
      returning * into b;
  end if;
  return b;
end $$;

-- A server, an operator of the tenant's, or whoever may review in the channel: each sees what is theirs to judge.
create or replace function public.is_operator() returns boolean language sql stable as $$
  select current_user_id() is null or exists (select 1 from users u where u.tenant_id = current_tenant() and u.id = current_user_id()
    and u.role in ('editor', 'admin'))
$$;

create or replace function public.may_judge(q moderation_queue, rule jsonb) returns boolean language sql stable as $$
  select is_operator() or exists (select 1 from channels c where c.tenant_id = q.tenant_id and c.id = q.channel_id
    and (select v.sees from seeing(c, current_user_id()) v) and may(rule, c.type, standing_in(c, current_user_id())))
$$;

-- Flags a message or a user, once for each who does: { id, queueId, messageId, userId, channelId, reason, details, hooks }. Flags of the same
-- thing share one place in the queue while it waits for a verdict.
create or replace function public.flag(ask jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); actor uuid := current_user_id(); msg uuid := (ask ->> 'messageId')::uuid; usr uuid := (ask ->> 'userId')::uuid;
  chan uuid := (ask ->> 'channelId')::uuid; place uuid; m messages;
begin
  if msg is not null then
    select * into m from messages x where x.tenant_id = t and x.id = msg for no key update;
    perform refuse_unless(not is_banned(m.channel_id, actor), 'banned');
    perform refuse_unless(m.id is not null and sees_message(m, actor) and m.deleted_at is null, 'not_found');
    usr := m.user_id;
    chan := m.channel_id;
  else
    perform 1 from users u where u.tenant_id = t and u.id = usr for no key update;
    perform refuse_unless(found, 'not_found');
    if chan is not null then perform must_see(chan); end if;
  end if;
  perform refuse_unless(actor is null or usr is distinct from actor, 'not_allowed');
  if exists (select 1 from flags f where f.tenant_id = t and f.flagged_by is not distinct from actor
      and case when msg is null then f.message_id is null and f.user_id = usr else f.message_id = msg end) then return; end if;
  select q.id into place from moderation_queue q where q.tenant_id = t and q.status = 'pending' and q.change is null
    and case when msg is null then q.kind = 'user' and q.user_id = usr and q.channel_id is not distinct from chan else q.message_id = msg end;
  if place is null then
    place := (ask ->> 'queueId')::uuid;
    insert into moderation_queue (tenant_id, id, kind, message_id, user_id, channel_id, source, reason)
      values (t, place, case when msg is null then 'user' else 'message' end, msg, usr, chan, 'flag', ask ->> 'reason');
  end if;
  insert into flags (tenant_id, id, queue_id, message_id, user_id, flagged_by, reason, details)
    values (t, (ask ->> 'id')::uuid, place, msg, usr, actor, ask ->> 'reason', ask ->> 'details');
  return query select * from record_told(chan, case when msg is null then 'user.flagged' else 'message.flagged' end, jsonb_build_object('queueId', place,
    'messageId', msg, 'userId', usr, 'channelId', chan, 'flaggedBy', actor, 'reason', ask ->> 'reason', 'details', ask ->> 'details'), nobody(), ask -> 'hooks');
end $$;

-- Where a message stands in the queue: where it waits, or else where it had its verdict.
create or replace function public.queue_entry_of(msg uuid) returns uuid language plpgsql as $$
declare place uuid; m messages;
begin
  select q.id into place from moderation_queue q where q.tenant_id = current_tenant() and q.message_id = msg and q.change is null
    order by q.status = 'pending' desc, q.reviewed_at desc limit 1;
  if place is not null then return place; end if;
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg and x.state = 'pending' for no key update;
  if m.id is null then return null; end if;
  place := gen_random_uuid();
  insert into moderation_queue (tenant_id, id, kind, message_id, user_id, channel_id, source)
    values (m.tenant_id, place, 'message', msg, m.user_id, m.channel_id, 'pending');
  return place;
end $$;

-- Nobody bans those who stand above them: in the channel, or for operators in the tenant.
create or replace function public.may_ban(usr uuid, chan uuid, rule jsonb) returns boolean language sql stable as $$
  select current_user_id() is null or current_user_id() is distinct from usr and case
    when is_operator() then not exists (select 1 from users me, users u where me.tenant_id = current_tenant() and me.id = current_user_id()
      and u.tenant_id = me.tenant_id and u.id = usr and u.role = 'admin' and me.role <> 'admin')
    else exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = chan
      and may(rule, c.type, standing_in(c, current_user_id()))
      and coalesce(array_position(array['member', 'moderator', 'admin', 'owner'], standing_in(c, usr)), 0)
        <= least(3, array_position(array['member', 'moderator', 'admin', 'owner'], standing_in(c, current_user_id())))) end
$$;

-- The verdict: { approve, delete, ban: { id, everywhere, shadow, reason, expiresAt }, rule, banRule, hooks }. A message that waited appears, or
-- stays its writer's alone; one that was flagged stays, or goes if so asked; a held edit becomes everybody's, or nobody's.
create or replace function public.review(place uuid, ask jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); q moderation_queue; m messages; approved boolean := (ask ->> 'approve')::boolean; told text; b bans;
  hooks jsonb := ask -> 'hooks';
begin
  select * into q from moderation_queue x where x.tenant_id = t and x.id = place for no key update;
  perform refuse_unless(q.id is not null and may_judge(q, ask -> 'rule'), 'not_found');
  -- Nobody judges themselves.
  perform refuse_unless(current_user_id() is null or q.user_id is distinct from current_user_id(), 'not_allowed');
  select * into m from messages x where x.tenant_id = t and x.id = q.message_id for no key update;
  perform refuse_unless(q.status = 'pending' and not (approved and m.state = 'pending' and coalesce(m.expires_at <= now(), false)), 'conflict');
  update moderation_queue x set status = case when approved then 'approved' else 'rejected' end, reviewed_by = current_user_id(), reviewed_at = now()
    where x.tenant_id = t and x.id = place;
  if q.change is not null and m.deleted_at is null then
    if approved then
      perform apply_edit(m, q.change, gen_random_uuid(), q.user_id);
      told := 'message.updated';
    else
      perform end_held_edit(m.id, q.user_id);
      return query select * from record_told(q.channel_id, 'message.pending', jsonb_build_object('message', message_json(m, q.user_id)),
        coalesce(q.user_id, nobody()), hooks);
    end if;
  elsif m.state = 'pending' and m.deleted_at is null then
    if approved then perform let_appear(m.id);
    else update messages x set state = 'rejected', expires_at = null, updated_at = now() where x.tenant_id = t and x.id = m.id;
    end if;
    told := case when approved then 'message.new' else 'message.updated' end;
  end if;
  if (ask ->> 'delete')::boolean and m.id is not null and m.deleted_at is null then
    update messages x set deleted_at = now(), updated_at = now() where x.tenant_id = t and x.id = m.id;
    told := 'message.deleted';
  end if;
  if told is not null then
    return query select * from record_message_event(m.id, told, false, gen_random_uuid(), hooks);
  end if;
  if ask ? 'ban' then
    b.channel_id := case when (ask #>> '{ban,everywhere}')::boolean then null else q.channel_id end;
    perform refuse_unless(q.user_id is not null and (b.channel_id is not null or (ask #>> '{ban,everywhere}')::boolean), 'conflict');
    perform refuse_unless(may_ban(q.user_id, b.channel_id, ask -> 'banRule'), 'not_allowed');
    b := put_ban((ask #>> '{ban,id}')::uuid, q.user_id, b.channel_id, ask -> 'ban');
    return query select * from record_told(b.channel_id, 'user.banned', jsonb_build_object('userId', b.user_id, 'channelId', b.channel_id,
      'shadow', b.shadow, 'expiresAt', iso(b.expires_at), 'reason', b.reason), case when b.shadow then nobody() end, hooks);
  end if;
  return query select * from record_told(q.channel_id, 'moderation.reviewed', jsonb_build_object('queueId', q.id, 'kind', q.kind, 'messageId', q.message_id,
    'userId', q.user_id, 'channelId', q.channel_id, 'status', case when approved then 'approved' else 'rejected' end, 'reviewedBy', current_user_id()),
    nobody(), hooks);
end $$;
