-- How a message is shown, and how a group of them is recorded.
-- Functions that return a set of one row are those that the planner takes apart where they are used: one that returns the value itself
-- is started anew for each row, and plans anew whatever it calls.
create or replace function public.iso(at timestamptz) returns text language sql stable as
$$ select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

create or replace function public.attachment_json(a message_attachments) returns jsonb language sql immutable as $$
  select jsonb_strip_nulls(jsonb_build_object('id', a.id, 'type', a.type, 'fileId', a.file_id, 'url', a.url, 'thumbnailUrl', a.thumbnail_url,
    'fileName', a.file_name, 'fileSize', a.file_size, 'mimeType', a.mime_type, 'width', a.width, 'height', a.height, 'duration', a.duration,
    'latitude', a.latitude, 'longitude', a.longitude, 'metadata', a.metadata))
$$;

-- An attachment as it was sent, with what is known of its file.
create or replace function public.new_attachment(chan uuid, msg uuid, given jsonb, place bigint) returns message_attachments language sql stable as $$
  select jsonb_populate_record(null::message_attachments, jsonb_build_object('tenant_id', current_tenant(), 'id', given -> 'id', 'channel_id', chan,
    'message_id', msg, 'position', place, 'type', given -> 'type', 'file_id', f.id, 'url', given -> 'url', 'thumbnail_url', given -> 'thumbnailUrl',
    'file_name', coalesce(f.name, given ->> 'fileName'), 'file_size', coalesce(f.size, (given ->> 'fileSize')::bigint),
    'mime_type', coalesce(f.content_type, given ->> 'mimeType'), 'width', given -> 'width', 'height', given -> 'height', 'duration', given -> 'duration',
    'latitude', given -> 'latitude', 'longitude', given -> 'longitude', 'metadata', coalesce(given -> 'metadata', '{}'), 'created_at', now()))
  from (select 1) one left join files f on f.tenant_id = current_tenant() and f.id = (given ->> 'fileId')::uuid
$$;

-- Whether all files that are named are there, whole.
create or replace function public.has_files(attachments jsonb) returns boolean language plpgsql stable as $$
begin
  return attachments is null or attachments = '[]' or not exists (select 1 from jsonb_array_elements(attachments) a
    where a ? 'fileId' and not exists (select 1 from files f
      where f.tenant_id = current_tenant() and f.id = (a ->> 'fileId')::uuid and f.status = 'completed'));
end $$;

-- What a message quotes, itself without a quote; nothing where others may not see it.
create or replace function public.quoted_json(m messages) returns jsonb language sql stable as $$
  select jsonb_build_object('id', q.id, 'userId', q.user_id, 'kind', q.kind, 'text', case when q.deleted_at is null then q.text else '' end,
      'attachments', case when q.deleted_at is not null then '[]' else coalesce((select jsonb_agg(attachment_json(a) order by a.position)
        from message_attachments a where a.tenant_id = q.tenant_id and a.message_id = q.id), '[]') end,
      'deletedAt', iso(q.deleted_at), 'createdAt', iso(q.created_at))
    from messages q join channels c on c.tenant_id = q.tenant_id and c.id = q.channel_id
   where q.tenant_id = m.tenant_id and q.id = m.quoted_id and q.state = 'visible' and (not q.shadowed or m.shadowed) and q.seq > c.truncated_seq
$$;

-- A message without what hangs on it.
create or replace function public.bare_message_json(m messages) returns jsonb language sql stable as $$
  select jsonb_build_object(
    'id', m.id, 'channelId', m.channel_id, 'seq', m.seq, 'userId', m.user_id, 'contactId', m.contact_id,
    'direction', m.direction, 'clientId', m.client_id, 'parentId', m.parent_id,
    'showInChannel', m.show_in_channel, 'quotedId', m.quoted_id, 'quoted', case when m.quoted_id is not null then quoted_json(m) end,
    'kind', m.kind, 'state', m.state, 'silent', m.silent,
    'text', case when m.deleted_at is null then m.text else '' end,
    'metadata', case when m.deleted_at is null then m.metadata else '{}' end,
    'mentioning', m.mentioning, 'mentions', '[]'::jsonb, 'attachments', '[]'::jsonb, 'reactions', '[]'::jsonb, 'replyCount', 0, 'participants', '[]'::jsonb,
    'pinnedAt', iso(m.pinned_at), 'editedAt', iso(m.edited_at), 'deletedAt', iso(m.deleted_at), 'createdAt', iso(m.created_at))
$$;

-- A message as the API, sockets and webhooks show it: to everybody, or to a viewer with what they alone may see of it.
create or replace function public.message_shown(m messages, viewer uuid) returns table (shown jsonb) language sql stable as $$
  select bare_message_json(m) || jsonb_build_object(
    'mentions', coalesce((select jsonb_agg(x.user_id order by x.user_id) from message_mentions x
      where x.tenant_id = m.tenant_id and x.message_id = m.id and not x.here), '[]'),
    'attachments', case when m.deleted_at is not null then '[]' else coalesce((select jsonb_agg(attachment_json(a) order by a.position)
      from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id), '[]') end,
    'reactions', coalesce((select jsonb_agg(jsonb_build_object('emoji', r.emoji, 'count', r.many, 'latestUserIds', r.latest) order by r.first_at, r.emoji)
      from (select x.emoji, count(*) as many, min(x.created_at) as first_at,
          to_jsonb((array_agg(x.user_id order by x.created_at desc, x.user_id))[1:10]) as latest
        from message_reactions x where x.tenant_id = m.tenant_id and x.message_id = m.id and (not x.shadowed or x.user_id = viewer)
        group by x.emoji) r), '[]'),
    'replyCount', thread.replies, 'participants', thread.participants)
    || case when viewer is null or m.deleted_at is not null then '{}' else coalesce((select s.patch from message_shadows s
      where s.tenant_id = m.tenant_id and s.message_id = m.id and s.user_id = viewer), '{}') end
  from (select coalesce(sum(x.many), 0)::int as replies, coalesce(jsonb_agg(x.user_id order by x.first) filter (where x.user_id is not null and x.place <= 10), '[]') as participants
    from (select r.user_id, count(*) as many, min(r.seq) as first, row_number() over (order by min(r.seq)) as place from messages r
      where r.tenant_id = m.tenant_id and r.parent_id = m.id and r.state = 'visible' and (not r.shadowed or r.user_id = viewer) and r.deleted_at is null
      group by r.user_id) x) thread
$$;

drop function if exists public.message_json(messages);
create or replace function public.message_json(m messages, viewer uuid default null) returns jsonb language sql stable as $$
  select s.shown from message_shown(m, viewer) s
$$;

-- Whether a webhook's filter lets this data pass; the same rules as of passes() in the Worker.
create or replace function public.passes_filter(filter jsonb, data jsonb) returns boolean language sql immutable as $$
  select filter is null or filter = 'null' or not exists (select 1 from jsonb_each(filter) f
    cross join lateral (select data #> string_to_array(f.key, '.') as held,
      case when jsonb_typeof(f.value) = 'object' then f.value else jsonb_build_object('eq', f.value) end as wanted) x
    where (wanted ? 'exists' and (held is not null) <> (wanted ->> 'exists')::boolean)
      or (wanted ? 'eq' and held is distinct from wanted -> 'eq') or (wanted ? 'ne' and held is not distinct from wanted -> 'ne')
      or (wanted ? 'in' and (held is null or not coalesce(wanted -> 'in' @> jsonb_build_array(held), false))))
$$;

-- Of the endpoints that may want an event, those whose scopes and filter let this one pass.
create or replace function public.wanting(hooks jsonb, chan uuid, data jsonb) returns jsonb language plpgsql stable as $$
begin
  if hooks is null or hooks = '[]' then return '[]'; end if;
  return (select coalesce(jsonb_agg(w), '[]') from jsonb_array_elements(hooks) w
      left join channels c on c.tenant_id = current_tenant() and c.id = chan
     where passes_filter(w -> 'filter', data) and in_scopes(w -> 'scopes', c));
end $$;

-- The standings that bring a verb: the usual ones, or those that the channel's type puts in their place.
create or replace function public.standings_of(rule jsonb, type text) returns text[] language sql immutable as $$
  select array(select jsonb_array_elements_text(coalesce(rule -> 'replaced' -> type, rule -> 'standings')))
$$;

-- What block lists say of a text in channels of a type: { block, hold: { id, name, kind }, text (with stars) }.
create or replace function public.ruling_of(rulings jsonb, type text) returns jsonb language sql immutable as $$
  select coalesce(rulings -> type, rulings -> '*', '{}')
$$;

-- Sends after that: refused ones are `blocked` by a list, others are `held` by one, or say something else.
create or replace function public.ruled(sends jsonb, type text) returns jsonb language plpgsql immutable as $$
begin
  if not jsonb_path_exists(sends, '$[*].rulings') then return sends; end if;
  return (select jsonb_agg(x.send || jsonb_strip_nulls(jsonb_build_object('blocked', r.ruling #>> '{block,id}', 'held', r.ruling #>> '{hold,name}',
      'text', r.ruling -> 'text', 'state', case when r.ruling ? 'hold' and x.send ->> 'state' = 'visible' then 'pending' end)) order by x.n)
    from jsonb_array_elements(sends) with ordinality x(send, n) cross join lateral (select ruling_of(x.send -> 'rulings', type) as ruling) r);
end $$;

-- Until when a message may wait for a verdict in a channel with these settings.
create or replace function public.pending_until(settings jsonb) returns timestamptz language sql stable as $$
  select now() + make_interval(mins => coalesce((settings ->> 'pendingMinutes')::int, 7 * 24 * 60))
$$;

-- Judges, numbers and stores a group of sends into one channel, and gives each its own answer. A send is
-- { n, id, event, onBehalf, contactId, direction, clientId, text, kind, parentId, showInChannel, quotedId, silent, state, expiresAt,
--   scheduled, asOf (of a scheduled one: when it was last changed before it was read), metadata, mentions, mentioning, attachments, rulings (of block lists, by channel type),
--   sinceOwn, sinceAny (seconds), may, mayFrozen, maySoon, mayMention, mayMentionAll (rules of the permission table),
--   webhooks (by event type) }; its verdict is { n, code, userId } of door.enter_many.
drop function if exists public.record_messages(uuid, jsonb, jsonb);
create or replace function public.record_messages(chan uuid, sends jsonb, verdicts jsonb)
returns table (n int, code text, wait float8, message jsonb, event uuid, seq bigint, payload text, audience uuid, deliveries uuid[], "slowMode" int, cooldown int)
language plpgsql volatile as $$
#variable_conflict use_column
declare t uuid := current_tenant(); ch channels; st streams; ty jsonb; moment text := iso(now()); verdict jsonb;
begin
  select * into ch from channels c where c.tenant_id = t and c.id = chan;
  if ch.id is not null then insert into streams (tenant_id, kind, id, last_seq) values (t, 'channel', chan, 0) on conflict do nothing; end if;
  select * into st from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = chan for no key update;
  -- While this waited, a mail may have shown that it is one with another conversation.
  if ch.inbox_id is not null then select * into ch from channels c where c.tenant_id = t and c.id = chan; end if;
  select coalesce((select y.settings from channel_types y where y.tenant_id = t and y.name = ch.type), '{}') || ch.settings into ty;
  sends := ruled(sends, ch.type);
  -- One that was called off or changed since it was read is not sent as it was: what happens to it now waits for this.
  if sends @> '[{"scheduled": true}]' then
    perform 1 from messages m where m.tenant_id = t and m.channel_id = chan and m.state = 'scheduled' and m.id in (
      select s.id from jsonb_to_recordset(sends) s(id uuid, scheduled boolean) where s.scheduled) order by m.id for update;
  end if;
  select jsonb_agg(jsonb_build_object('n', s.n, 'userId', s."userId", 'old', old.id, 'shadow', coalesce(ban.shadow, false), 'wait', w.wait, 'code', case
      when s.refused is not null then s.refused
      when s.scheduled and not exists (select 1 from messages m where m.tenant_id = t and m.id = s.id and m.state = 'scheduled'
        and (s."asOf" is null or m.updated_at = s."asOf")) then 'overtaken'
      when ch.id is null or ch.deleted_at is not null then 'not_found'
      when ch.merged_into is not null then 'channel_merged'
      when (ch.medium = 'chat') <> (s.direction is null) then 'not_allowed'
      when ban.shadow = false then 'banned'
      when s."userId" is not null and cm.role is null and not sees_channel(ch, s."userId") then 'not_found'
      when s."userId" is not null and ch.team_id is not null and not sees_channel(ch, s."userId") then 'not_found'
      when old.id is not null then 'duplicate'
      when s."userId" is not null and not coalesce(cm.role, 'none') = any (standings_of(s.may, ch.type)) then 'not_allowed'
      when ch.frozen and s."userId" is not null and not coalesce(cm.role, 'none') = any (standings_of(s."mayFrozen", ch.type)) then 'channel_frozen'
      when s.blocked is not null then 'blocked ' || s.blocked
      when length(s.text) > (ty ->> 'maxLength')::int then 'too_long'
      when s."parentId" is not null and (ty ->> 'threads')::boolean = false then 'threads_off'
      when s."parentId" is not null and not exists (select 1 from messages p where p.tenant_id = t and p.id = s."parentId" and p.channel_id = chan
        and p.parent_id is null and p.seq > ch.truncated_seq and p.deleted_at is null and p.state = 'visible' and (not p.shadowed or p.user_id = s."userId")) then 'unknown_parent'
      when s."quotedId" is not null and not exists (select 1 from messages q where q.tenant_id = t and q.id = s."quotedId" and q.channel_id = chan
        and (not q.shadowed or q.user_id = s."userId") and q.seq > ch.truncated_seq and q.state = 'visible') then 'unknown_quoted'
      when s.attachments <> '[]' and (ty ->> 'uploads')::boolean = false then 'uploads_off'
      when not has_files(s.attachments) then 'unknown_file'
      when s.mentions <> '[]' and s."userId" is not null and not coalesce(cm.role, 'none') = any (standings_of(s."mayMention", ch.type)) then 'may_not_mention'
      when s.mentioning is not null and s."userId" is not null
        and not coalesce(cm.role, 'none') = any (standings_of(s."mayMentionAll", ch.type)) then 'may_not_mention_all'
      when w.wait > 0 and s."userId" is not null and not coalesce(cm.role, 'none') = any (standings_of(s."maySoon", ch.type)) then 'too_soon'
      end)) into verdict
    from (select s.*, v.code as refused, coalesce(v."userId", s."onBehalf") as "userId"
      from jsonb_to_recordset(sends) s(n int, id uuid, scheduled boolean, "asOf" timestamptz, "onBehalf" uuid, "clientId" text, "parentId" uuid, "quotedId" uuid, text text, direction text, may jsonb,
        "mayFrozen" jsonb, "maySoon" jsonb, "mayMention" jsonb, "mayMentionAll" jsonb, "sinceOwn" float8, "sinceAny" float8, mentions jsonb,
        mentioning text, attachments jsonb, blocked uuid)
      left join jsonb_to_recordset(verdicts) v(n int, code text, "userId" uuid) using (n)) s
    left join lateral (select case when s."userId" is not null then standing_in(ch, s."userId") end as role) cm on true
    left join lateral (
      select o.id from messages o where o.tenant_id = t and o.channel_id = chan and o.user_id = s."userId" and o.client_id = s."clientId"
      union all
      select o.id from messages o where o.tenant_id = t and o.channel_id = chan and o.user_id is null and s."userId" is null and o.client_id = s."clientId"
      limit 1) old on true
    left join lateral (select greatest(ch.slow_mode - s."sinceOwn", ch.cooldown - s."sinceAny") as wait) w on true
    left join lateral (select bool_and(b.shadow) as shadow from bans b where b.tenant_id = t and b.user_id = s."userId"
      and (b.channel_id = chan or b.channel_id is null) and (b.expires_at is null or b.expires_at > now()) having count(*) > 0) ban on true;
  if sends @> '[{"scheduled": true}]' then
    delete from messages m where m.tenant_id = t and m.channel_id = chan and m.state = 'scheduled' and m.id in (
      select s.id from jsonb_to_recordset(sends) s(n int, id uuid) join jsonb_to_recordset(verdict) v(n int, code text) using (n) where v.code is null);
  end if;
  return query
    with judged as materialized (select v.* from jsonb_to_recordset(verdict) v(n int, code text, "userId" uuid, old uuid, shadow boolean, wait float8)),
      send as materialized (select s.*, j.shadow, j."userId" from jsonb_to_recordset(sends) s(n int, id uuid, event uuid, "contactId" uuid, direction text, "clientId" text, text text,
          kind text, "parentId" uuid, "showInChannel" boolean, "quotedId" uuid, silent boolean, state text, "expiresAt" timestamptz, metadata jsonb,
          mentions jsonb, mentioning text, attachments jsonb, held text, webhooks jsonb)
        join judged j using (n) where j.code is null),
      kept as materialized (select k.*, st.last_seq + row_number() over (order by k.n) as seq,
          case when k.counts then st.last_ordinal + count(*) filter (where k.counts) over (order by k.n) end as ordinal
        from (select distinct on (s."userId", coalesce(s."clientId", s.id::text)) s.*,
            s.state = 'visible' and not s.shadow and not s.silent and s.kind = 'text' and s."showInChannel" as counts
          from send s order by s."userId", coalesce(s."clientId", s.id::text), s.n) k),
      put as (insert into messages (tenant_id, id, channel_id, seq, ordinal, user_id, contact_id, direction, client_id, parent_id, show_in_channel, quoted_id, text, kind, state,
          silent, shadowed, mentioning, metadata, expires_at)
        select t, k.id, chan, k.seq, k.ordinal, k."userId", k."contactId", k.direction, k."clientId", k."parentId", k."showInChannel", k."quotedId", k.text, k.kind, k.state,
          k.silent, k.shadow, k.mentioning, k.metadata, case when k.state = 'pending' then coalesce(k."expiresAt", pending_until(ty)) end from kept k returning *),
      queued as (insert into moderation_queue (tenant_id, id, kind, message_id, user_id, channel_id, source, reason)
        select t, gen_random_uuid(), 'message', k.id, k."userId", chan, case when k.held is null then 'pending' else 'block_list' end, k.held
          from kept k where k.state = 'pending'),
      raised as (update streams s set last_seq = s.last_seq + x.many, last_ordinal = coalesce(x.most, s.last_ordinal),
          last_message_at = case when x.seen then now() else s.last_message_at end
        from (select count(*) as many, max(k.ordinal) as most, bool_or(k.state = 'visible' and not k.shadow) as seen from kept k) x
        where s.tenant_id = t and s.kind = 'channel' and s.id = chan and x.many > 0),
      mentioned as (insert into message_mentions (tenant_id, message_id, user_id, channel_id, ordinal, here)
        select distinct on (k.id, x.user_id) t, k.id, x.user_id, chan, case when k.mentioning = 'channel' then null else k.ordinal end, x.here
          from kept k cross join lateral (
            select u.id as user_id, false as here from jsonb_array_elements_text(k.mentions) m join users u on u.tenant_id = t and u.id = m::uuid
            union all
            select c.user_id, true from channel_members c where k.mentioning = 'here' and c.tenant_id = t and c.channel_id = chan
              and exists (select 1 from live_sockets l where l.tenant_id = t and l.user_id = c.user_id and l.until > now())) x
          order by k.id, x.user_id, x.here returning message_id, user_id, here),
      followed as (insert into thread_members (tenant_id, parent_id, user_id, read_seq)
        select t, k."parentId", x.user_id, max(x.at) from kept k cross join lateral (
            select k."userId" as user_id, k.seq as at union all
            select p.user_id, 0 from messages p where p.tenant_id = t and p.id = k."parentId" and k.state = 'visible' and not k.shadow union all
            select u.id, k.seq - 1 from jsonb_array_elements_text(k.mentions) m join users u on u.tenant_id = t and u.id = m::uuid
             where k.state = 'visible' and not k.shadow) x
          where k."parentId" is not null and x.user_id is not null group by 2, 3 on conflict do nothing),
      attached as (insert into message_attachments select a.* from kept k cross join jsonb_array_elements(k.attachments) with ordinality g
          cross join lateral new_attachment(chan, k.id, g.value, g.ordinality) a returning *),
      used as (update files f set attached_at = coalesce(f.attached_at, now()) from attached a where f.tenant_id = t and f.id = a.file_id),
      shown as materialized (select k.*, case when k.shadow then 'message.shadowed' when k.state = 'pending' then 'message.pending' else 'message.new' end as type,
          bare_message_json(row(p.*)::messages) || jsonb_build_object(
            'mentions', case k.mentions when '[]' then k.mentions else coalesce((select jsonb_agg(m.user_id order by m.user_id) from mentioned m where m.message_id = k.id and not m.here), '[]') end,
            'attachments', case k.attachments when '[]' then k.attachments else (select jsonb_agg(attachment_json(row(a.*)::message_attachments) order by a.position)
              from attached a where a.message_id = k.id) end) as message
        from kept k join put p on p.id = k.id),
      ev as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, audience, message_id, payload)
        select t, s.event, 'channel', chan, s.seq, s.type, case when s.type <> 'message.new' then coalesce(s."userId", nobody()) end, s.id,
          '{"id":"' || s.event || '","type":"' || s.type || '","timestamp":"' || moment
          || '","stream":{"kind":"channel","id":"' || chan || '"},"seq":' || s.seq || ',"data":{"message":' || s.message || '}}'
        from shown s returning id, payload, audience),
      due as (insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, order_key, order_seq)
        select t, gen_random_uuid(), (w.value ->> 'id')::uuid, s.event, case when (w.value ->> 'ordered')::boolean then chan end,
          case when (w.value ->> 'ordered')::boolean then s.seq end
        from shown s join ev on ev.id = s.event cross join jsonb_array_elements(s.webhooks -> s.type) w
        where passes_filter(w.value -> 'filter', jsonb_build_object('message', s.message)) and in_scopes(w.value -> 'scopes', ch) returning id, event_id)
    select j.n, case when j.old is not null or s.n is null and again.message is not null then 'duplicate' else j.code end, j.wait,
        coalesce(s.message, again.message, case when j.code = 'duplicate' then (select message_json(o, o.user_id) from messages o where o.tenant_id = t and o.id = j.old) end),
        s.event, s.seq, ev.payload, ev.audience, array(select d.id from due d where d.event_id = s.event), ch.slow_mode, ch.cooldown
      from judged j left join shown s on s.n = j.n left join ev on ev.id = s.event
      left join send x on x.n = j.n
      left join lateral (select y.message from shown y where s.n is null and x."clientId" is not null
        and y."userId" is not distinct from x."userId" and y."clientId" = x."clientId" limit 1) again on true
      order by j.n;
end $$;
