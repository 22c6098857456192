-- The conversations of an inbox that hold a mail with one of these ids, the oldest first. Each id is looked up by itself: a
-- planner that knows little of the table would read all that the inbox has.
create or replace function public.conversations_of(inbox uuid, ids text[]) returns uuid[] language plpgsql stable as $$
declare t uuid := current_tenant();
begin
  return array(select distinct x.channel_id from unnest(ids) i(id) cross join lateral (
      select m.channel_id from message_references f join messages m on m.tenant_id = f.tenant_id and m.id = f.message_id
       where f.tenant_id = t and f.inbox_id = inbox and f.referenced_id = i.id offset 0) x order by 1);
end $$;

-- Two conversations are one: all of `other` goes on in `chan`, under new numbers, for its stream has no gaps. Messages
-- keep their ids. Whoever had read both has read the one. The caller holds the locks of both streams.
create or replace function public.merge_conversations(chan uuid, other uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); st streams; old streams; moved uuid[]; raised bigint; items jsonb; data jsonb;
begin
  select * into st from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = chan;
  select * into old from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = other;
  insert into channel_members (tenant_id, channel_id, user_id, role)
    select m.tenant_id, chan, m.user_id, m.role from channel_members m where m.tenant_id = t and m.channel_id = other on conflict do nothing;
  moved := array(select m.id from messages m where m.tenant_id = t and m.channel_id = other and m.seq is not null order by m.seq);
  update messages m set channel_id = chan, seq = st.last_seq + 1 + x.nth,
      ordinal = case when m.ordinal is not null then st.last_ordinal + x.counted end
    from (select y.id, row_number() over (order by y.seq) as nth, count(y.ordinal) over (order by y.seq) as counted from messages y
      where y.tenant_id = t and y.channel_id = other and y.seq is not null) x
   where m.tenant_id = t and m.id = x.id;
  get diagnostics raised = row_count;
  update messages m set channel_id = chan where m.tenant_id = t and m.channel_id = other;
  update message_mentions n set channel_id = chan, ordinal = m.ordinal from messages m
   where n.tenant_id = t and n.channel_id = other and m.tenant_id = t and m.id = n.message_id;
  -- All that belongs to a message goes where it goes: with the channel it names, it would be deleted.
  update message_attachments a set channel_id = chan where a.tenant_id = t and a.channel_id = other;
  update moderation_queue q set channel_id = chan where q.tenant_id = t and q.channel_id = other;
  update deliveries d set channel_id = chan where d.tenant_id = t and d.channel_id = other;
  update campaign_targets g set channel_id = chan where g.tenant_id = t and g.channel_id = other and not exists (
    select 1 from campaign_targets o where o.tenant_id = t and o.campaign_id = g.campaign_id and o.channel_id = chan);
  update message_drafts d set channel_id = chan where d.tenant_id = t and d.channel_id = other and not exists (
    select 1 from message_drafts o where o.tenant_id = t and o.channel_id = chan and o.user_id = d.user_id
      and o.parent_id is not distinct from d.parent_id);
  select coalesce(max(m.ordinal), st.last_ordinal) into raised from messages m
   where m.tenant_id = t and m.channel_id = chan and m.ordinal is not null;
  update streams s set last_ordinal = raised, last_message_at = greatest(st.last_message_at, old.last_message_at)
   where s.tenant_id = t and s.kind = 'channel' and s.id = chan;
  update channel_members m set read_ordinal = raised, read_seq = st.last_seq + 1 + cardinality(moved)
    from channel_members o where m.tenant_id = t and m.channel_id = chan and o.tenant_id = t and o.channel_id = other and o.user_id = m.user_id
     and (m.read_ordinal >= st.last_ordinal and o.read_ordinal >= old.last_ordinal);
  update channels c set merged_into = chan, trashed_at = null, updated_at = now() where c.tenant_id = t and (c.id = other or c.merged_into = other);
  data := jsonb_build_object('channelId', chan, 'mergedId', other, 'messageIds', to_jsonb(moved));
  items := jsonb_build_array(
      jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan, 'type', 'channel.merged', 'data', data::text,
        'webhooks', wanting(hooks -> 'channel.merged', chan, data)),
      -- Those who watch the old one are told where to go on; webhooks hear of it once.
      jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', other, 'type', 'channel.merged', 'data', data::text, 'webhooks', '[]'::jsonb))
    || coalesce((select jsonb_agg(jsonb_build_object('n', x.n, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan, 'type', 'message.moved',
        'data', d.data::text, 'webhooks', wanting(hooks -> 'message.moved', chan, d.data)) order by x.n)
      from unnest(moved) with ordinality x(message, n) join messages m on m.tenant_id = t and m.id = x.message
      cross join lateral (select jsonb_build_object('fromChannelId', other, 'message', message_json(m, null)) as data) d), '[]');
  return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries from record_events(items) r;
end $$;

-- Without what mail programs of many languages put before the subject of an answer or a forwarded mail.
create or replace function public.plain_subject(subject text) returns text language sql immutable as $$
  select nullif(btrim(regexp_replace(subject, '^(\s*(re|aw|antw|antwort|sv|vs|r|rv|rif|res|odp|ynt|fwd?|wg|vb|vl|tr|i|enc|pd|ilt|doorst|'
    || '回复|答复|回覆|返信|转发|轉寄|転送)\s*(\[\d+\]|\(\d+\)|\^\d+)?\s*[:：])+', '', 'i')), '')
$$;

-- The subject that a conversation goes by: of the mail that was written first, in whatever order they came.
create or replace function public.first_subject(chan uuid) returns text language sql stable as $$
  select e.subject from messages m join emails e on e.tenant_id = m.tenant_id and e.message_id = m.id
   where m.tenant_id = current_tenant() and m.channel_id = chan and m.seq is not null
   order by coalesce(e.sent_at, case m.direction when 'outbound' then m.created_at else 'infinity' end), e.rfc_id, e.message_id limit 1
$$;
