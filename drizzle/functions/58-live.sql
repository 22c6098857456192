-- What nobody but its writer may see, and what lies before the reader's history, is not there. Servers see all but what is truncated.
create or replace function public.sees_message(m messages, reader uuid) returns boolean language sql stable as $$
  select (reader is null or m.user_id = reader or m.state = 'visible' and not m.shadowed)
    and (m.seq is null or m.seq > history_start(m.channel_id, reader))
    and exists (select 1 from channels c where c.tenant_id = m.tenant_id and c.id = m.channel_id and sees_channel(c, reader))
$$;

-- Stands before a change of a message: 404 for what the acting user does not see, 403 for what their standing does not bring;
-- `own` is one more standing, of whoever wrote it.
create or replace function public.must_change_message(msg uuid, rule jsonb) returns boolean language plpgsql stable as $$
declare m messages; ch channels; actor uuid := current_user_id(); standing text;
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg;
  perform refuse_unless(not is_banned(m.channel_id, actor), 'banned');
  perform refuse_unless(m.id is not null and sees_message(m, actor), 'not_found');
  if actor is null then return true; end if;
  select * into ch from channels c where c.tenant_id = m.tenant_id and c.id = m.channel_id;
  standing := standing_in(ch, actor);
  perform refuse_unless(standing is not null or is_public(ch), 'not_found');
  return refuse_unless(may(rule, ch.type, coalesce(standing, 'none')) or (may(rule, ch.type, 'own') and m.user_id = actor), 'not_allowed');
end $$;

-- Records what became of a message. What is its writer's secret stays so: told under a type of its own, to the writer alone. So is a
-- change under a shadow ban, or one that is held for review, to whoever made it.
create or replace function public.record_message_event(msg uuid, told text, hard boolean, event uuid, webhooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare m messages; secret boolean; private boolean; held boolean; reader uuid; named text; data jsonb;
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg;
  if m.id is null then return; end if;
  secret := m.shadowed or m.state in ('pending', 'rejected');
  private := told = 'message.updated' and is_private_change(m);
  held := told = 'message.updated' and coalesce(current_setting('app.held', true) = msg::text, false);
  reader := case when secret then coalesce(m.user_id, nobody()) when private or held then coalesce(current_user_id(), nobody()) end;
  named := case when m.shadowed or private then 'message.shadowed' when secret or held then 'message.pending' else told end;
  data := case when told = 'message.deleted' and not secret
    then jsonb_build_object('channelId', m.channel_id, 'messageId', m.id, 'hard', hard)
    else jsonb_build_object('message', message_json(m, reader)) end;
  return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', event, 'kind', 'channel', 'stream', m.channel_id, 'type', named,
      'data', data::text, 'audience', reader,
      'webhooks', wanting(webhooks -> named, m.channel_id, data)))) r;
end $$;

-- What was told of a message, without the words it quotes.
create or replace function public.without_quote(e events) returns text language sql stable as $$
  select '{"id":"' || e.id || '","type":' || to_json(e.type) || ',"timestamp":' || (e.payload::json -> 'timestamp')::text || ',"stream":'
    || (e.payload::json -> 'stream')::text || ',"seq":' || e.seq || ',"data":' || jsonb_set(e.payload::jsonb -> 'data', '{message,quoted}', 'null') || '}'
$$;

-- What a reader missed of one channel: its events in order, and a bare range wherever there is nothing for them to see.
create or replace function public.missed_events(chan uuid, reader uuid, behind bigint, upto bigint, most int)
returns table (seq bigint, payload text) language sql stable as $$
  -- Found once, and not for each event.
  with h as materialized (select history_start(chan, reader) as first,
    (select c.truncated_seq from channels c where c.tenant_id = current_tenant() and c.id = chan) as truncated)
  select e.seq, case when e.audience is not null and e.audience is distinct from reader then null
      when e.seq <= h.first and e.type like 'message.%' then null
      when h.first > 0 and e.type = 'message.updated' and (e.payload::jsonb #>> '{data,message,seq}')::bigint <= h.first then null
      when e.payload like '%,"removed":true}}' then null
      when h.truncated > 0 and e.type like 'message.%' and exists (select 1 from messages q where q.tenant_id = e.tenant_id
        and q.id = (e.payload::jsonb #>> '{data,message,quoted,id}')::uuid and q.seq <= h.truncated) then without_quote(e)
      else e.payload end
    from events e cross join h
   where e.tenant_id = current_tenant() and e.stream_kind = 'channel' and e.stream_id = chan and e.seq > behind and e.seq <= upto
   order by e.seq limit most
$$;

-- Takes a message away for good with its files, and its words out of the log of events, whose numbers stay; also where others quoted it.
create or replace function public.remove_message(msg uuid) returns boolean language plpgsql as $$
declare m messages; gone uuid[];
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg;
  gone := array(select x.id from messages x where x.tenant_id = m.tenant_id and (x.id = msg or x.parent_id = msg));
  update events e set payload = '{"id":"' || e.id || '","type":"' || e.type || '","timestamp":"' || iso(e.created_at)
      || '","stream":{"kind":"channel","id":"' || m.channel_id || '"},"seq":' || e.seq || ',"data":{"messageId":"' || (e.payload::jsonb #>> '{data,message,id}') || '","removed":true}}'
   where e.tenant_id = m.tenant_id and e.stream_kind = 'channel' and e.stream_id = m.channel_id and e.seq >= m.seq
     and e.type in ('message.new', 'message.updated', 'message.pending', 'message.shadowed') and position('"' || msg || '"' in e.payload) > 0
     and (e.payload::jsonb #>> '{data,message,id}')::uuid = any (gone)
     -- By what was told of it once deleted, without its words, the writer of a secret one learns that it is gone.
     and e.payload::jsonb #>> '{data,message,deletedAt}' is null;
  update events e set payload = without_quote(e)
   where e.tenant_id = m.tenant_id and e.stream_kind = 'channel' and e.stream_id = m.channel_id and e.seq > m.seq
     and exists (select 1 from messages q where q.tenant_id = m.tenant_id and q.quoted_id = any (gone))
     and e.type like 'message.%' and (e.payload::jsonb #>> '{data,message,quoted,id}')::uuid = any (gone);
  delete from messages x where x.tenant_id = m.tenant_id and x.id = msg;
  return true;
end $$;

-- The same of all that a user wrote, with the answers to it.
create or replace function public.remove_messages_of(writer uuid) returns void language plpgsql as $$
declare t uuid := current_tenant(); gone uuid[]; held uuid[];
begin
  gone := array(select m.id from messages m where m.tenant_id = t and m.user_id = writer union
    select r.id from messages m join messages r on r.tenant_id = t and r.parent_id = m.id where m.tenant_id = t and m.user_id = writer);
  update events e set payload = '{"id":"' || e.id || '","type":"' || e.type || '","timestamp":"' || iso(e.created_at)
      || '","stream":{"kind":"channel","id":"' || e.stream_id || '"},"seq":' || e.seq || ',"data":{"messageId":"' || (e.payload::jsonb #>> '{data,message,id}') || '","removed":true}}'
    from (select m.channel_id, min(m.seq) as first from messages m where m.tenant_id = t and m.id = any (gone) and m.seq is not null group by 1) c
   where e.tenant_id = t and e.stream_kind = 'channel' and e.stream_id = c.channel_id and e.seq >= c.first and e.type like 'message.%'
     and exists (select 1 from unnest(gone) g(id) where g.id = (e.payload::jsonb #>> '{data,message,id}')::uuid);
  update events e set payload = without_quote(e)
    from (select q.channel_id, min(q.seq) as first from messages q where q.tenant_id = t and q.quoted_id = any (gone) group by 1) c
   where e.tenant_id = t and e.stream_kind = 'channel' and e.stream_id = c.channel_id and e.seq >= c.first and e.type like 'message.%'
     and exists (select 1 from unnest(gone) g(id) where g.id = (e.payload::jsonb #>> '{data,message,quoted,id}')::uuid);
  held := array(select a.file_id from message_attachments a where a.tenant_id = t and a.file_id is not null and a.message_id = any (gone));
  delete from messages m where m.tenant_id = t and m.user_id = writer;
  perform release_files(held);
end $$;

-- Held in common by those who connect, alone by those who end connections: so none slips between looking and ending.
create or replace function public.lock_sockets(alone boolean) returns boolean language plpgsql as $$
declare name bigint := hashtextextended('sockets ' || current_tenant(), 0);
begin
  if alone then perform pg_advisory_xact_lock(name); else perform pg_advisory_xact_lock_shared(name); end if;
  return true;
end $$;

-- Which of these users may see a channel, and which may type in it: where typing is shown at all, and to send is theirs.
create or replace function public.standings_at(chan uuid, readers uuid[], rule jsonb) returns table (reader uuid, sees boolean, types boolean)
language sql stable as $$
  select r, coalesce(sees_channel(c, r), false), coalesce(sees_channel(c, r) and not is_anonymous(c.tenant_id, r)
      and coalesce((c.settings ->> 'typing')::boolean, (select (x.settings ->> 'typing')::boolean from channel_types x
        where x.tenant_id = c.tenant_id and x.name = c.type), true)
      and may(rule, c.type, coalesce((select m.role from channel_members m where m.tenant_id = c.tenant_id and m.channel_id = c.id and m.user_id = r), 'none')), false)
    from unnest(readers) r left join channels c on c.tenant_id = current_tenant() and c.id = chan
$$;

-- Lets a user in at a channel or at their own place: { id, place, placeId, deviceId, keyId, jti, until, ticket, may }. The credential is
-- looked at once more under the lock. The last number is read before the user is judged: whatever takes the channel from them
-- has a higher one, or is seen here. It is held until the socket's row is there for is_heard.
create or replace function public.open_socket(credential jsonb, sock jsonb) returns jsonb language plpgsql as $$
declare t uuid := current_tenant(); usr uuid; chan uuid := (sock ->> 'placeId')::uuid; ends timestamptz; last bigint; sees boolean; types boolean := false;
begin
  perform lock_sockets(false);
  select e.user_id into usr from door.enter(credential) e;
  perform refuse_unless(usr is not null, 'not_allowed');
  insert into streams (tenant_id, kind, id, last_seq) values (t, sock ->> 'place', coalesce(chan, usr), 0) on conflict do nothing;
  select x.last_seq into last from streams x where x.tenant_id = t and x.kind = sock ->> 'place' and x.id = coalesce(chan, usr) for share;
  if sock ? 'ticket' then
    delete from socket_tickets k where k.tenant_id = t and k.hash = decode(sock ->> 'ticket', 'hex') and k.expires_at > now();
    perform refuse_unless(found, 'unknown_credential');
  end if;
  if sock ->> 'place' = 'channel' then
    perform refuse_unless(not is_banned(chan, usr), 'banned');
    select s.sees, s.types into sees, types from standings_at(chan, array[usr], coalesce(sock -> 'may', '{}')) s;
    perform refuse_unless(sees, 'not_found');
  else
    chan := usr;
  end if;
  ends := least(now() + interval '24 hours', (sock ->> 'until')::timestamptz,
    (select k.expires_at from api_keys k where k.tenant_id = t and k.id = (sock ->> 'keyId')::uuid),
    (select k.revoked_at from api_keys k where k.tenant_id = t and k.id = (sock ->> 'keyId')::uuid));
  delete from live_sockets s where s.tenant_id = t and s.user_id = usr and s.until < now();
  insert into live_sockets (tenant_id, id, place, place_id, user_id, device_id, key_id, jti, until)
    values (t, (sock ->> 'id')::uuid, sock ->> 'place', chan, usr, sock ->> 'deviceId', (sock ->> 'keyId')::uuid, sock ->> 'jti', ends);
  return jsonb_build_object('id', sock ->> 'id', 'userId', usr, 'deviceId', sock ->> 'deviceId', 'until', extract(epoch from ends) * 1000,
    'firstSeq', coalesce(history_start(chan, usr), 0), 'lastSeq', coalesce(last, 0), 'mayType', types,
    'shadowedUntil', extract(epoch from shadowed_until(chan, usr)) * 1000);
end $$;

-- What a reader missed of many streams, channels and their own: rows in the order of the cursors until the page is full. Each
-- stream begins with a row without an event: `last` is null in that of one they may not see, `payload` 'full' in those that nothing was
-- read of, as the page was full.
create or replace function public.sync_streams(cursors jsonb, reader uuid, most int, most_bytes int)
returns table (stream uuid, kind text, behind bigint, last bigint, seq bigint, payload text) language plpgsql stable as $$
#variable_conflict use_column
declare c record; room int := most; bytes int := 0; size int; is_full boolean := false; ends bigint; ch channels; own boolean; seqs bigint[]; payloads text[];
begin
  for c in select x.key::uuid as id, x.value::bigint as at from jsonb_each_text(cursors) x loop
    own := c.id is not distinct from reader;
    if room <= 0 then
      -- What the page has no room for is looked at when it is asked for again.
      return query select c.id, case when own then 'user' else 'channel' end, c.at, c.at + 1, null::bigint, 'full';
      continue;
    end if;
    ends := null;
    select * into ch from channels y where y.tenant_id = current_tenant() and y.id = c.id;
    if own or (ch.id is not null and sees_channel(ch, reader)) then
      ends := coalesce((select s.last_seq from streams s where s.tenant_id = current_tenant()
        and s.kind = case when own then 'user' else 'channel' end and s.id = c.id), 0);
    end if;
    return query select c.id, case when own then 'user' else 'channel' end, c.at, ends, null::bigint, null::text;
    if ends > c.at then
      select coalesce(array_agg(y.seq order by y.seq) filter (where y.fits), '{}'), array_agg(y.payload order by y.seq) filter (where y.fits),
          coalesce(sum(y.size) filter (where y.fits), 0), coalesce(bool_or(not y.fits), false) into seqs, payloads, size, is_full
        from (select x.seq, x.payload, coalesce(length(x.payload), 0) as size,
            row_number() over w = 1 or bytes + sum(coalesce(length(x.payload), 0)) over w <= most_bytes as fits
          from (select x.seq, x.payload from missed_events(c.id, reader, c.at, ends, room) x where not own
            union all
            (select v.seq, v.payload from events v where own and v.tenant_id = current_tenant() and v.stream_kind = 'user' and v.stream_id = c.id
              and v.seq > c.at order by v.seq limit room)) x window w as (order by x.seq)) y;
      return query select c.id, null::text, c.at, ends, u.seq, u.payload from unnest(seqs, payloads) u(seq, payload);
      room := room - cardinality(seqs);
      bytes := bytes + size;
    end if;
    if is_full or bytes > most_bytes then room := 0; end if;
  end loop;
end $$;

grant select, delete on live_sockets to parley_door;
grant select on streams to parley_door;
drop policy if exists door on live_sockets;
create policy door on live_sockets for select to parley_door using (true);
drop policy if exists door_delete on live_sockets;
create policy door_delete on live_sockets for delete to parley_door using (true);
drop policy if exists door_live on streams;
create policy door_live on streams for select to parley_door using (true);

-- Where sockets are open and the newest event is from these last minutes: should its announcement have been lost, nothing later tells of
-- it. On the way, rows of sockets that ended without a word are taken away.
create or replace function door.live_places(most int) returns table (tenant_id uuid, place text, place_id uuid, last_seq bigint)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
  delete from live_sockets where (live_sockets.tenant_id, live_sockets.id) in
    (select o.tenant_id, o.id from live_sockets o where o.until < now() - interval '1 minute' order by o.until limit most);
  return query select s.tenant_id, s.place, s.place_id, x.last_seq
    from (select distinct l.tenant_id, l.place, l.place_id from live_sockets l where l.until > now()) s
      join streams x on x.tenant_id = s.tenant_id and x.kind = s.place and x.id = s.place_id
      join events e on e.tenant_id = x.tenant_id and e.stream_kind = x.kind and e.stream_id = x.id and e.seq = x.last_seq
   where e.created_at > now() - interval '150 seconds'
   order by e.created_at limit most;
end $$;
