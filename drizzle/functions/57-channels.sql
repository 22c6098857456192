-- Whether anybody may read channels of this type without being a member.
create or replace function public.is_public(chan channels) returns boolean language sql stable as $$
  select coalesce((chan.settings ->> 'public')::boolean,
    (select (x.settings ->> 'public')::boolean from channel_types x where x.tenant_id = chan.tenant_id and x.name = chan.type),
    chan.type = 'livestream')
$$;

create or replace function public.is_anonymous(tenant uuid, viewer uuid) returns boolean language sql stable as $$
  select exists (select 1 from users u where u.tenant_id = tenant and u.id = viewer and u.type = 'anonymous')
$$;

-- An operator sees the channels of the inboxes they work in. Else a user sees channels of their teams, or, being in none, those without
-- a team; and of these the public ones and, unless anonymous, their own, but none that they are banned from.
create or replace function public.seeing(chan channels, viewer uuid) returns table (sees boolean) language sql stable as $$
  select chan.deleted_at is null and (viewer is null or case when chan.inbox_id is not null then works_in_inbox(chan.tenant_id, chan.inbox_id, viewer)
      and not exists (select 1 from users u where u.tenant_id = chan.tenant_id and u.id = viewer and u.type = 'anonymous') else
    (exists (select 1 from channel_members m where m.tenant_id = chan.tenant_id and m.channel_id = chan.id and m.user_id = viewer)
      and not exists (select 1 from users u where u.tenant_id = chan.tenant_id and u.id = viewer and u.type = 'anonymous') or is_public(chan))
    and case when chan.team_id is null
      then not exists (select 1 from team_members t where t.tenant_id = chan.tenant_id and t.user_id = viewer)
      else exists (select 1 from team_members t where t.tenant_id = chan.tenant_id and t.user_id = viewer and t.team_id = chan.team_id) end
    and not exists (select 1 from bans_holding(chan.id, viewer)) end)
$$;

create or replace function public.sees_channel(chan channels, viewer uuid) returns boolean language plpgsql stable as $$
begin
  return (select s.sees from seeing(chan, viewer) s);
end $$;

-- Whether these channels, and those of these messages, are of the inboxes that a credential is bound to. What is not there is missed later.
create or replace function public.lie_in_inboxes(chans jsonb, msgs jsonb, boxes jsonb) returns boolean language sql stable as $$
  select not exists (select 1 from channels c where c.tenant_id = current_tenant() and not coalesce(boxes ? c.inbox_id::text, false)
    and c.id in (select x::uuid from jsonb_array_elements_text(chans) x
      union select m.channel_id from messages m, jsonb_array_elements_text(msgs) x where m.tenant_id = current_tenant() and m.id = x::uuid))
$$;

-- Stands before what a verb shows: 403 for the banned, who know of the channel, 404 for others who do not see it.
create or replace function public.must_see(chan uuid) returns boolean language plpgsql stable as $$
begin
  perform refuse_unless(not is_banned(chan, current_user_id()), 'banned');
  return refuse_unless(exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = chan and sees_channel(c, current_user_id())),
    'not_found');
end $$;

-- By which the one channel of a type and these members is found, the acting user among them.
create or replace function public.distinct_key(type text, members uuid[]) returns text language sql stable as $$
  select encode(sha256(convert_to(type || ' ' || string_agg(m.id, ' ' order by m.id collate "C"), 'UTF8')), 'hex')
    from (select unnest(members)::text as id union select current_user_id()::text where current_user_id() is not null) m
$$;

-- Stands before the writes of a verb: 404 for what the user does not see, 403 for what their standing does not bring.
-- `replaced` holds, by channel type, the standings that take the place of the usual ones.
create or replace function public.must_be_allowed(chan uuid, standings text[], replaced jsonb) returns boolean language plpgsql stable as $$
declare ch channels; viewer uuid := current_user_id(); standing text;
begin
  perform must_see(chan);
  select * into ch from channels c where c.tenant_id = current_tenant() and c.id = chan;
  if viewer is null then return true; end if;
  standing := standing_in(ch, viewer);
  if replaced ? ch.type then standings := array(select jsonb_array_elements_text(replaced -> ch.type)); end if;
  return refuse_unless(coalesce(standing, 'none') = any (standings), 'not_allowed');
end $$;

-- The messages of a channel that this reader may see begin after this number.
create or replace function public.history_start(chan uuid, reader uuid) returns bigint language sql stable as $$
  select greatest(c.truncated_seq, coalesce((select m.history_seq from channel_members m
      where m.tenant_id = c.tenant_id and m.channel_id = c.id and m.user_id = reader), 0))
    from channels c where c.tenant_id = current_tenant() and c.id = chan
$$;

-- Messages after the read mark, and after `from_seq`, that count and are not the reader's own: exact to 1,000, and 1,001 for more.
create or replace function public.unread_of(m channel_members, from_seq bigint) returns table (many int) language sql stable as $$
  select count(*)::int from (select 1 from messages x where x.tenant_id = m.tenant_id and x.channel_id = m.channel_id and x.ordinal > m.read_ordinal
    and x.seq > from_seq and x.user_id is distinct from m.user_id and x.deleted_at is null limit 1001) y
$$;

-- Of these the ones that mention the reader, by name, for being there, or with all members.
create or replace function public.unread_mentions_of(m channel_members, from_seq bigint) returns table (many int) language sql stable as $$
  select count(*)::int from (
    select 1 from (
        select x.message_id as id from message_mentions x where x.tenant_id = m.tenant_id and x.user_id = m.user_id
          and x.channel_id = m.channel_id and x.ordinal > m.read_ordinal
        union all
        select x.id from messages x where x.tenant_id = m.tenant_id and x.channel_id = m.channel_id and x.mentioning = 'channel' and x.ordinal > m.read_ordinal) x
      join messages y on y.tenant_id = m.tenant_id and y.id = x.id
     where y.user_id is distinct from m.user_id and y.deleted_at is null and y.seq > from_seq limit 1001) z
$$;

create or replace function public.unread_count(m channel_members) returns int language sql stable as $$
  select u.many from channels c cross join lateral unread_of(m, greatest(m.history_seq, c.truncated_seq)) u where c.tenant_id = m.tenant_id and c.id = m.channel_id
$$;

create or replace function public.unread_mentions(m channel_members) returns int language sql stable as $$
  select u.many from channels c cross join lateral unread_mentions_of(m, greatest(m.history_seq, c.truncated_seq)) u where c.tenant_id = m.tenant_id and c.id = m.channel_id
$$;

-- The same from nothing but the messages and the read mark's number; the two must always agree.
create or replace function public.recount(m channel_members) returns table (unread int, mentions int) language sql stable as $$
  with counted as (
    select x.mentioning = 'channel' or exists (select 1 from message_mentions n where n.tenant_id = m.tenant_id and n.message_id = x.id and n.user_id = m.user_id) as mentioned
      from messages x join channels c on c.tenant_id = x.tenant_id and c.id = x.channel_id
     where x.tenant_id = m.tenant_id and x.channel_id = m.channel_id and x.seq > greatest(m.read_seq, m.history_seq, c.truncated_seq)
       and x.state = 'visible' and not x.shadowed and not x.silent and x.kind = 'text' and x.show_in_channel
       and x.user_id is distinct from m.user_id and x.deleted_at is null)
  select least(count(*), 1001)::int, least(count(*) filter (where mentioned), 1001)::int from counted
$$;

-- Of a thread: replies after its reader's mark that are somebody else's.
create or replace function public.thread_unread(f thread_members) returns int language sql stable as $$
  select count(*)::int from (select 1 from messages x where x.tenant_id = f.tenant_id and x.parent_id = f.parent_id
    and x.seq > (select greatest(f.read_seq, history_start(p.channel_id, f.user_id)) from messages p where p.tenant_id = f.tenant_id and p.id = f.parent_id)
    and x.state = 'visible' and not x.shadowed and not x.silent and x.kind = 'text' and x.user_id is distinct from f.user_id and x.deleted_at is null limit 1001) y
$$;

-- The newest message that this reader may see.
create or replace function public.newest_message(chan uuid, viewer uuid, from_seq bigint) returns table (shown jsonb) language sql stable as $$
  select s.shown from messages m cross join lateral message_shown(m, viewer) s where m.tenant_id = current_tenant() and m.channel_id = chan and m.seq = (
    select x.seq from messages x where x.tenant_id = current_tenant() and x.channel_id = chan and x.seq > from_seq
      and (x.state = 'visible' and not x.shadowed or x.user_id = viewer) and (x.parent_id is null or x.show_in_channel)
    order by x.seq desc limit 1)
$$;

create or replace function public.last_message(chan uuid, viewer uuid, from_seq bigint) returns jsonb language sql stable as $$
  select n.shown from newest_message(chan, viewer, from_seq) n
$$;

-- What a list shows of these channels beside themselves: newest message, members, and to the acting user what is unread. In PL/pgSQL,
-- which plans it once for a session and not for each list.
create or replace function public.channel_overviews(chans uuid[]) returns table (channel uuid, last_message jsonb, member_count int, members jsonb,
  unread int, unread_mentions int) language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select c.id, (select n.shown from newest_message(c.id, current_user_id(), h.first) n),
      (select count(*)::int from channel_members x where x.tenant_id = c.tenant_id and x.channel_id = c.id),
      coalesce((select jsonb_agg(jsonb_build_object('userId', p.user_id, 'role', p.role, 'displayName', u.display_name, 'avatarUrl', u.avatar_url)
          order by p.joined_at, p.user_id)
        from (select x.* from channel_members x where x.tenant_id = c.tenant_id and x.channel_id = c.id order by x.joined_at, x.user_id limit 10) p
          join users u on u.tenant_id = p.tenant_id and u.id = p.user_id), '[]'),
      case when m.read_ordinal < s.last_ordinal then (select u.many from unread_of(m, h.first) u) else 0 end,
      case when m.read_ordinal < s.last_ordinal then (select u.many from unread_mentions_of(m, h.first) u) else 0 end
    from channels c join streams s on s.tenant_id = c.tenant_id and s.kind = 'channel' and s.id = c.id
      left join channel_members m on m.tenant_id = c.tenant_id and m.channel_id = c.id and m.user_id = current_user_id()
      -- Computed beforehand: in a condition it would be none that an index may serve behind the wall.
      cross join lateral (select greatest(c.truncated_seq, coalesce(m.history_seq, 0)) as first offset 0) h
   where c.tenant_id = current_tenant() and c.id = any (chans);
end $$;

-- Records an event of a channel whose data only the database knows; `hooks` are the endpoints that may want it, by type.
create or replace function public.record_channel_event(chan uuid, event uuid, told text, data jsonb, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language sql as $$
  select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', event, 'kind', 'channel', 'stream', chan, 'type', told,
      'data', data::text, 'webhooks', wanting(hooks -> told, chan, data)))) r
$$;

-- Moves the acting user's read mark on, never beyond what there is; told to the others unless it is private or the channel keeps no receipts.
create or replace function public.mark_read(chan uuid, upto bigint, secret boolean, event uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); me uuid := current_user_id(); m channel_members; told boolean; last bigint;
begin
  select * into m from channel_members x where x.tenant_id = t and x.channel_id = chan and x.user_id = me for no key update;
  perform refuse_unless(m.user_id is not null, 'not_found');
  select least(upto, s.last_seq) into last from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = chan;
  if coalesce(last, 0) <= m.read_seq then return; end if;
  update channel_members x set read_at = now(), read_seq = last, read_ordinal = greatest(x.read_ordinal, ordinal_at(chan, last))
   where x.tenant_id = t and x.channel_id = chan and x.user_id = me;
  select not secret and coalesce((c.settings ->> 'reads')::boolean, (y.settings ->> 'reads')::boolean, true) into told
    from channels c left join channel_types y on y.tenant_id = t and y.name = c.type where c.tenant_id = t and c.id = chan;
  if not told then return; end if;
  insert into member_reads (tenant_id, channel_id, user_id, seq) values (t, chan, me, last) on conflict do nothing;
  return query select * from record_channel_event(chan, event, 'message.read',
    jsonb_build_object('channelId', chan, 'userId', me, 'seq', last, 'readAt', iso(now())), hooks);
end $$;

-- The highest ordinal at or before a number: what reading up to it leaves behind.
create or replace function public.ordinal_at(chan uuid, upto bigint) returns bigint language sql stable as $$
  select coalesce((select m.ordinal from messages m where m.tenant_id = current_tenant() and m.channel_id = chan and m.seq <= upto and m.ordinal is not null
    order by m.seq desc limit 1), 0)
$$;

-- Hides what there is up to a number, or up to a time, or all of it.
create or replace function public.truncate_channel(chan uuid, upto bigint, until timestamptz, hard boolean, event uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); last bigint;
begin
  select s.last_seq into last from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = chan for no key update;
  if until is not null then
    select m.seq into last from messages m where m.tenant_id = t and m.channel_id = chan and m.seq is not null and m.created_at <= until order by m.seq desc limit 1;
  end if;
  last := coalesce(least(last, upto), 0);
  update channels c set truncated_seq = greatest(c.truncated_seq, last), truncated_at = now(), updated_at = now() where c.tenant_id = t and c.id = chan;
  return query select * from record_channel_event(chan, event, 'channel.truncated', jsonb_build_object('channelId', chan, 'upToSeq', last, 'hard', hard), hooks);
end $$;
