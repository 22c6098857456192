-- What a message refers to when it is kept for later: in this channel, and there for its writer.
create or replace function public.must_refer(chan uuid, given jsonb) returns boolean language plpgsql as $$
declare path text;
begin
  foreach path in array array['parentId', 'quotedId'] loop
    if given ->> path is not null and not exists (select 1 from messages m where m.tenant_id = current_tenant() and m.id = (given ->> path)::uuid
        and m.channel_id = chan and m.deleted_at is null and m.seq is not null and sees_message(m, current_user_id())
        and (path = 'quotedId' or m.parent_id is null)) then
      perform refuse_field(path, 'There is no such message in this channel.');
    end if;
  end loop;
  if not has_files(coalesce(given -> 'attachments', '[]')) then perform refuse_field('attachments', 'A file is missing, or not uploaded completely.'); end if;
  return true;
end $$;

-- Keeps a message until its time; `given` is a send of record_messages.
create or replace function public.schedule_message(chan uuid, given jsonb, due timestamptz) returns boolean language plpgsql as $$
declare m messages;
begin
  perform must_refer(chan, given);
  insert into messages (tenant_id, id, channel_id, user_id, parent_id, show_in_channel, quoted_id, text, kind, state, silent, mentioning, metadata, scheduled_for)
    values (current_tenant(), (given ->> 'id')::uuid, chan, current_user_id(), (given ->> 'parentId')::uuid, (given ->> 'showInChannel')::boolean,
      (given ->> 'quotedId')::uuid, given ->> 'text', given ->> 'kind', 'scheduled', (given ->> 'silent')::boolean, given ->> 'mentioning', given -> 'metadata', due)
    returning * into m;
  perform replace_attachments(m, given -> 'attachments');
  return replace_mentions(m, given -> 'mentions');
end $$;

-- Changes one that still waits: { text, metadata (merged), attachments, mentions, sendAt }, each as far as it is given.
create or replace function public.change_scheduled(msg uuid, patch jsonb) returns boolean language plpgsql as $$
declare m messages;
begin
  update messages x set text = coalesce(patch ->> 'text', x.text), metadata = merged_json(x.metadata, coalesce(patch -> 'metadata', '{}')),
      scheduled_for = coalesce((patch ->> 'sendAt')::timestamptz, x.scheduled_for), updated_at = now()
   where x.tenant_id = current_tenant() and x.id = msg and x.state = 'scheduled' and (current_user_id() is null or x.user_id = current_user_id()) returning * into m;
  perform refuse_unless(m.id is not null, 'not_found');
  perform must_refer(m.channel_id, patch);
  if patch ? 'text' then
    -- The words of a mail are made of its draft. Those of html would go on saying what was said before.
    if exists (select 1 from scheduled_emails s where s.tenant_id = m.tenant_id and s.message_id = msg and s.draft #>> '{given,html}' is not null) then
      perform refuse_field('text', 'This mail has html: change both by /scheduled-messages/{id}/email.');
    end if;
    update scheduled_emails s set draft = jsonb_set(s.draft, '{given,text}', patch -> 'text') where s.tenant_id = m.tenant_id and s.message_id = msg;
  end if;
  if patch ? 'attachments' then perform replace_attachments(m, patch -> 'attachments'); end if;
  if patch ? 'mentions' then perform replace_mentions(m, patch -> 'mentions'); end if;
  return not patch ?| array['text', 'attachments'] or must_say_something(m);
end $$;

-- Refuses one at its time, as it was read; false where it is no longer that.
create or replace function public.refuse_scheduled(msg uuid, as_of timestamptz) returns boolean language plpgsql as $$
begin
  update messages m set state = 'rejected' where m.tenant_id = current_tenant() and m.id = msg and m.state = 'scheduled' and m.updated_at = as_of;
  return refuse_unless(found, 'conflict');
end $$;

-- Those that waited for a verdict in vain.
create or replace function door.expired_messages(most int) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', m.tenant_id, 'id', m.id)), '[]') from (
    select x.tenant_id, x.id from messages x join tenants t on t.id = x.tenant_id and t.deleted_at is null where x.expires_at <= now() and x.state = 'pending' order by x.expires_at limit most) m
$$;

create or replace function public.expire_message(msg uuid, event uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
begin
  update messages m set state = 'rejected', expires_at = null, updated_at = now()
   where m.tenant_id = current_tenant() and m.id = msg and m.state = 'pending' and m.expires_at <= now();
  if not found then return; end if;
  update moderation_queue q set status = 'rejected', reviewed_at = now()
   where q.tenant_id = current_tenant() and q.message_id = msg and q.status = 'pending' and q.change is null;
  return query select * from record_message_event(msg, 'message.updated', false, event, hooks);
end $$;

-- One page of the log of events: the words of messages up to a number, of what answered them, and where others quoted them, are taken out.
-- Returns where to go on, null at the end.
create or replace function public.forget_events(chan uuid, upto bigint, behind bigint, most int) returns bigint language plpgsql as $$
declare reached bigint;
begin
  with page as (select e.tenant_id, e.id, e.type, e.seq, e.payload::jsonb as told from events e
      where e.tenant_id = current_tenant() and e.stream_kind = 'channel' and e.stream_id = chan and e.seq > behind order by e.seq limit most),
    told as (select p.*, p.told #> '{data,message}' as message from page p where p.type like 'message.%'),
    gone as (update events e set payload = '{"id":"' || e.id || '","type":"' || e.type || '","timestamp":"' || iso(e.created_at)
        || '","stream":{"kind":"channel","id":"' || chan || '"},"seq":' || e.seq || ',"data":{"messageId":"' || (x.message ->> 'id') || '","removed":true}}'
      from told x where e.tenant_id = x.tenant_id and e.id = x.id and x.message is not null and ((x.message ->> 'seq')::bigint <= upto
        or x.message ->> 'parentId' is not null and exists (select 1 from messages p where p.tenant_id = x.tenant_id and p.id = (x.message ->> 'parentId')::uuid and p.seq <= upto))
      returning e.id),
    quoted as (update events e set payload = without_quote(e)
      from told x where e.tenant_id = x.tenant_id and e.id = x.id and not exists (select 1 from gone g where g.id = e.id) and (x.message ->> 'seq')::bigint > upto
        and exists (select 1 from messages q where q.tenant_id = x.tenant_id and q.id = (x.message #>> '{quoted,id}')::uuid and q.seq <= upto))
    select case when count(*) = most then max(p.seq) end into reached from page p;
  return reached;
end $$;

-- At most so many messages of a channel, the oldest first, with their files. Returns how many there were.
create or replace function public.remove_messages(chan uuid, upto bigint, most int) returns int language plpgsql as $$
declare gone uuid[];
begin
  gone := array(select m.id from messages m where m.tenant_id = current_tenant() and m.channel_id = chan and (upto is null or m.seq <= upto) order by m.seq limit most);
  delete from messages m where m.tenant_id = current_tenant() and m.id = any (gone);
  return cardinality(gone);
end $$;

-- What is left of a deleted channel, piece by piece: messages, members, itself. Says whether there is more.
create or replace function public.remove_channel_page(chan uuid, most int) returns boolean language plpgsql as $$
begin
  if not exists (select 1 from channels c where c.tenant_id = current_tenant() and c.id = chan and c.deleted_at is not null) then return false; end if;
  if remove_messages(chan, null, most) > 0 then return true; end if;
  delete from channel_members m where m.ctid = any (array(
    select x.ctid from channel_members x where x.tenant_id = current_tenant() and x.channel_id = chan limit most));
  if found then return true; end if;
  delete from channels c where c.tenant_id = current_tenant() and c.id = chan;
  return false;
end $$;

call hand_over_doors();
