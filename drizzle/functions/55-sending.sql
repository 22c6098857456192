-- How a group of messages is judged and recorded.
drop function if exists public.standings_of(jsonb, text);
-- Whether a standing brings a verb: one of the usual ones, or of those that the channel's type puts in their place.
create or replace function public.may(rule jsonb, type text, standing text) returns boolean language sql immutable as $$
  select coalesce(rule -> 'replaced' -> type, rule -> 'standings') ? standing
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

-- What holds against a user in a channel: true for a shadow, false for a ban, which goes before one.
create or replace function public.shadow_of(chan uuid, usr uuid) returns boolean language plpgsql stable as $$
begin
  return (select bool_and(b.shadow) from bans b where b.tenant_id = current_tenant() and b.user_id = usr
    and (b.channel_id = chan or b.channel_id is null) and (b.expires_at is null or b.expires_at > now()));
end $$;

-- The message that was sent with a `clientId`, by a user or by the tenant's own keys.
create or replace function public.sent_before(chan uuid, usr uuid, client text) returns uuid language plpgsql stable as $$
begin
  if usr is null then
    return (select o.id from messages o where o.tenant_id = current_tenant() and o.channel_id = chan and o.user_id is null and o.client_id = client limit 1);
  end if;
  return (select o.id from messages o where o.tenant_id = current_tenant() and o.channel_id = chan and o.user_id = usr and o.client_id = client);
end $$;

-- Whether a user sees a message of a channel, and so may quote it or, where it is none itself, reply to it.
create or replace function public.may_refer_to(ch channels, msg uuid, usr uuid, replying boolean) returns boolean language plpgsql stable as $$
begin
  return exists (select 1 from messages q where q.tenant_id = ch.tenant_id and q.id = msg and q.channel_id = ch.id and q.seq > ch.truncated_seq
    and q.state = 'visible' and (not q.shadowed or q.user_id = usr) and (not replying or q.parent_id is null and q.deleted_at is null));
end $$;

-- Whether a scheduled message is still as it was read; one that was called off or changed since is not sent as it was.
create or replace function public.is_as_read(msg uuid, as_of timestamptz) returns boolean language plpgsql stable as $$
begin
  return exists (select 1 from messages m where m.tenant_id = current_tenant() and m.id = msg and m.state = 'scheduled' and (as_of is null or m.updated_at = as_of));
end $$;

-- Judges, numbers and stores a group of sends into one channel, and gives each its own answer. A send is
-- { n, id, event, onBehalf, contactId, direction, clientId, text, kind, parentId, showInChannel, quotedId, silent, state, expiresAt,
--   scheduled, asOf (of a scheduled one: when it was last changed before it was read), metadata, mentions, mentioning, attachments, rulings (of block lists, by channel type),
--   sinceOwn, sinceAny (seconds), may, mayFrozen, maySoon, mayMention, mayMentionAll (rules of the permission table),
--   webhooks (by event type) }; its verdict is { n, code, userId } of door.enter_many.
-- Most sends are a text and nothing else. A statement costs for each of its parts, also for those that then find nothing, so that what
-- few messages have is asked and stored only where there is one that has it.
drop function if exists public.record_messages(uuid, jsonb, jsonb);
create or replace function public.record_messages(chan uuid, sends jsonb, verdicts jsonb)
returns table (n int, code text, wait float8, message jsonb, event uuid, seq bigint, payload text, audience uuid, deliveries uuid[], "slowMode" int, cooldown int)
language plpgsql volatile as $$
#variable_conflict use_column
declare
  t uuid := current_tenant(); ch channels; st streams; ty jsonb; moment text := iso(now()); before bigint;
  s record; standing text; shadow boolean; refusal text; waits float8; old uuid; twin int; again jsonb; counts boolean;
  seen jsonb := '{}'; judged jsonb := '[]'; kept jsonb := '[]'; told boolean := false;
  mentioned jsonb; attached message_attachments[];
  is_mentioning boolean := false; is_replying boolean := false; is_pending boolean := false;
begin
  select * into ch from channels c where c.tenant_id = t and c.id = chan;
  select * into st from streams x where x.tenant_id = t and x.kind = 'channel' and x.id = chan for no key update;
  if st.id is null and ch.id is not null then
    insert into streams (tenant_id, kind, id, last_seq) values (t, 'channel', chan, 0) on conflict do nothing;
    select * into st from streams x where x.tenant_id = t and x.kind = 'channel' and x.id = chan for no key update;
  end if;
  before := st.last_seq;
  -- While this waited, a mail may have shown that it is one with another conversation.
  if ch.inbox_id is not null then select * into ch from channels c where c.tenant_id = t and c.id = chan; end if;
  ty := coalesce((select y.settings from channel_types y where y.tenant_id = t and y.name = ch.type), '{}') || ch.settings;
  sends := ruled(sends, ch.type);
  -- What happens to a scheduled one now waits for this.
  if sends @> '[{"scheduled": true}]' then
    perform 1 from messages m where m.tenant_id = t and m.channel_id = chan and m.state = 'scheduled' and m.id in (
      select x.id from jsonb_to_recordset(sends) x(id uuid, scheduled boolean) where x.scheduled) order by m.id for update;
  end if;
  for s in select x.*, v.code as refused, coalesce(v."userId", x."onBehalf") as user_id
      from jsonb_to_recordset(sends) x(n int, id uuid, scheduled boolean, "asOf" timestamptz, "onBehalf" uuid, "clientId" text, "parentId" uuid, "quotedId" uuid,
        "showInChannel" boolean, kind text, state text, silent boolean, text text, direction text, may jsonb, "mayFrozen" jsonb, "maySoon" jsonb, "mayMention" jsonb,
        "mayMentionAll" jsonb, "sinceOwn" float8, "sinceAny" float8, mentions jsonb, mentioning text, attachments jsonb, blocked uuid)
      left join jsonb_to_recordset(verdicts) v(n int, code text, "userId" uuid) using (n) order by x.n loop
    waits := greatest(ch.slow_mode - s."sinceOwn", ch.cooldown - s."sinceAny");
    standing := case when s.user_id is not null then coalesce(standing_in(ch, s.user_id), 'none') end;
    shadow := case when s.user_id is not null then shadow_of(chan, s.user_id) end;
    old := case when s."clientId" is not null then sent_before(chan, s.user_id, s."clientId") end;
    refusal := case
      when s.refused is not null then s.refused
      when s.scheduled and not is_as_read(s.id, s."asOf") then 'overtaken'
      when ch.id is null or ch.deleted_at is not null then 'not_found'
      when ch.merged_into is not null then 'channel_merged'
      when (ch.medium = 'chat') <> (s.direction is null) then 'not_allowed'
      when not shadow then 'banned'
      when s.user_id is not null and (standing = 'none' or ch.team_id is not null) and not sees_channel(ch, s.user_id) then 'not_found'
      when old is not null then 'duplicate'
      when not may(s.may, ch.type, standing) then 'not_allowed'
      when ch.frozen and not may(s."mayFrozen", ch.type, standing) then 'channel_frozen'
      when s.blocked is not null then 'blocked ' || s.blocked
      -- What somebody mailed cannot be taken back for being long.
      when s.direction is distinct from 'inbound' and length(s.text) > (ty ->> 'maxLength')::int then 'too_long'
      when s."parentId" is not null and (ty ->> 'threads')::boolean = false then 'threads_off'
      when s."parentId" is not null and not may_refer_to(ch, s."parentId", s.user_id, true) then 'unknown_parent'
      when s."quotedId" is not null and not may_refer_to(ch, s."quotedId", s.user_id, false) then 'unknown_quoted'
      when s.direction is distinct from 'inbound' and s.attachments <> '[]' and (ty ->> 'uploads')::boolean = false then 'uploads_off'
      when not has_files(s.attachments) then 'unknown_file'
      when s.mentions <> '[]' and not may(s."mayMention", ch.type, standing) then 'may_not_mention'
      when s.mentioning is not null and not may(s."mayMentionAll", ch.type, standing) then 'may_not_mention_all'
      when waits > 0 and not may(s."maySoon", ch.type, standing) then 'too_soon'
      end;
    twin := case when refusal is null and s."clientId" is not null then (seen ->> concat(s.user_id, ' ', s."clientId"))::int end;
    again := null;
    if refusal = 'duplicate' then
      select message_json(o, o.user_id) into again from messages o where o.tenant_id = t and o.id = old;
    elsif refusal is null and twin is null then
      if s."clientId" is not null then seen := seen || jsonb_build_object(concat(s.user_id, ' ', s."clientId"), s.n); end if;
      counts := s.state = 'visible' and shadow is null and not s.silent and s.kind = 'text' and s."showInChannel";
      st.last_seq := st.last_seq + 1;
      if counts then st.last_ordinal := st.last_ordinal + 1; end if;
      kept := kept || jsonb_build_object('n', s.n, 'userId', s.user_id, 'shadow', shadow is not null, 'seq', st.last_seq, 'ordinal', case when counts then st.last_ordinal end);
      told := told or s.state = 'visible' and shadow is null;
      is_mentioning := is_mentioning or s.mentions <> '[]' or s.mentioning = 'here';
      is_replying := is_replying or s."parentId" is not null;
      is_pending := is_pending or s.state = 'pending';
    end if;
    judged := judged || jsonb_build_object('n', s.n, 'code', case when twin is null then refusal else 'duplicate' end, 'wait', waits, 'twin', twin, 'again', again);
  end loop;
  if sends @> '[{"scheduled": true}]' then
    delete from messages m where m.tenant_id = t and m.channel_id = chan and m.state = 'scheduled' and m.id in (
      select x.id from jsonb_to_recordset(sends) x(n int, id uuid) join jsonb_to_recordset(kept) k(n int) using (n));
  end if;
  if kept <> '[]' then
    update streams x set last_seq = st.last_seq, last_ordinal = st.last_ordinal, last_message_at = case when told then now() else x.last_message_at end
     where x.tenant_id = t and x.kind = 'channel' and x.id = chan;
  end if;
  if is_mentioning then
    select jsonb_object_agg(x.id, x.users) into mentioned from (select s.id, jsonb_agg(u.id order by u.id) as users
      from jsonb_to_recordset(sends) s(id uuid, mentions jsonb) cross join lateral jsonb_array_elements_text(s.mentions) m
      join users u on u.tenant_id = t and u.id = m::uuid group by s.id) x;
  end if;
  if jsonb_path_exists(sends, '$[*].attachments[0]') then
    select array_agg(a) into attached from jsonb_to_recordset(sends) s(n int, id uuid, attachments jsonb) join jsonb_to_recordset(kept) k(n int) using (n)
      cross join jsonb_array_elements(s.attachments) with ordinality g cross join lateral new_attachment(chan, s.id, g.value, g.ordinality) a;
  end if;
  return query
    with send as materialized (select s.*, k."userId", k.shadow, k.seq, k.ordinal from jsonb_to_recordset(sends) s(n int, id uuid, event uuid, "contactId" uuid,
          direction text, "clientId" text, text text, kind text, "parentId" uuid, "showInChannel" boolean, "quotedId" uuid, silent boolean, state text,
          "expiresAt" timestamptz, metadata jsonb, mentions jsonb, mentioning text, attachments jsonb, webhooks jsonb)
        join jsonb_to_recordset(kept) k(n int, "userId" uuid, shadow boolean, seq bigint, ordinal bigint) using (n)),
      put as (insert into messages (tenant_id, id, channel_id, seq, ordinal, user_id, contact_id, direction, client_id, parent_id, show_in_channel, quoted_id, text, kind, state,
          silent, shadowed, mentioning, metadata, expires_at)
        select t, k.id, chan, k.seq, k.ordinal, k."userId", k."contactId", k.direction, k."clientId", k."parentId", k."showInChannel", k."quotedId", k.text, k.kind, k.state,
          k.silent, k.shadow, k.mentioning, k.metadata, case when k.state = 'pending' then coalesce(k."expiresAt", pending_until(ty)) end from send k order by k.n returning *),
      shown as materialized (select k.*, case when k.shadow then 'message.shadowed' when k.state = 'pending' then 'message.pending' else 'message.new' end as type,
          bare_message_json(row(p.*)::messages) || jsonb_build_object(
            'mentions', case k.mentions when '[]' then k.mentions else coalesce(mentioned -> k.id::text, '[]') end,
            'attachments', case k.attachments when '[]' then k.attachments else (select jsonb_agg(attachment_json(row(a.*)::message_attachments) order by a.position)
              from unnest(attached) a where a.message_id = k.id) end) as message
        from send k join put p on p.id = k.id),
      ev as (insert into events (tenant_id, id, stream_kind, stream_id, seq, type, audience, message_id, payload)
        select t, s.event, 'channel', chan, s.seq, s.type, case when s.type <> 'message.new' then coalesce(s."userId", nobody()) end, s.id,
          '{"id":"' || s.event || '","type":"' || s.type || '","timestamp":"' || moment
          || '","stream":{"kind":"channel","id":"' || chan || '"},"seq":' || s.seq || ',"data":{"message":' || s.message || '}}'
        from shown s returning id, payload, audience)
    select j.n, j.code, j.wait, coalesce(s.message, j.again), ev.id, case when ev.id is not null then s.seq end, ev.payload, ev.audience,
        case when ev.id is not null then deliver_event(ev.id, chan, s.seq, s.webhooks -> s.type, ch, jsonb_build_object('message', s.message)) end, ch.slow_mode, ch.cooldown
      from jsonb_to_recordset(judged) j(n int, code text, wait float8, twin int, again jsonb)
      left join shown s on s.n = coalesce(j.twin, j.n) left join ev on ev.id = s.event and j.twin is null
      order by j.n;
  if is_mentioning then
    insert into message_mentions (tenant_id, message_id, user_id, channel_id, ordinal, here)
      select distinct on (m.id, x.user_id) t, m.id, x.user_id, chan, case when m.mentioning = 'channel' then null else m.ordinal end, x.here
        from messages m cross join lateral (
          select u::uuid as user_id, false as here from jsonb_array_elements_text(mentioned -> m.id::text) u
          union all
          select c.user_id, true from channel_members c where m.mentioning = 'here' and c.tenant_id = t and c.channel_id = chan
            and exists (select 1 from live_sockets l where l.tenant_id = t and l.user_id = c.user_id and l.until > now())) x
       where m.tenant_id = t and m.channel_id = chan and m.seq > before order by m.id, x.user_id, x.here;
  end if;
  if is_replying then
    insert into thread_members (tenant_id, parent_id, user_id, read_seq)
      select t, m.parent_id, x.user_id, max(x.at) from messages m cross join lateral (
          select m.user_id, m.seq as at union all
          select p.user_id, 0 from messages p where p.tenant_id = t and p.id = m.parent_id and m.state = 'visible' and not m.shadowed union all
          select u::uuid, m.seq - 1 from jsonb_array_elements_text(mentioned -> m.id::text) u where m.state = 'visible' and not m.shadowed) x
       where m.tenant_id = t and m.channel_id = chan and m.seq > before and m.parent_id is not null and x.user_id is not null
       group by 2, 3 on conflict do nothing;
  end if;
  if attached is not null then
    insert into message_attachments select a.* from unnest(attached) a;
    update files f set attached_at = coalesce(f.attached_at, now()) from unnest(attached) a where f.tenant_id = t and f.id = a.file_id;
  end if;
  if is_pending then
    insert into moderation_queue (tenant_id, id, kind, message_id, user_id, channel_id, source, reason)
      select t, gen_random_uuid(), 'message', m.id, m.user_id, chan, case when s.held is null then 'pending' else 'block_list' end, s.held
        from jsonb_to_recordset(sends) s(id uuid, held text) join messages m on m.tenant_id = t and m.id = s.id
       where m.channel_id = chan and m.seq > before and m.state = 'pending';
  end if;
end $$;
