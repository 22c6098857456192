-- Adds or takes back a reaction of the acting user; told only if that changed anything, and to the user alone where the message is secret
-- or they react under a shadow ban. Beside the endpoints' types `hooks` has the `rulings` of block lists: what they would hold or mask in a
-- text is refused here.
create or replace function public.react(msg uuid, emoji text, adding boolean, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); actor uuid := current_user_id(); m messages; ch channels; ty jsonb; items jsonb := '[]'; gone record; shadow boolean := false; ruling jsonb;
begin
  perform refuse_unless(actor is not null, 'not_allowed');
  select * into m from messages x where x.tenant_id = t and x.id = msg for no key update;
  select * into ch from channels c where c.tenant_id = t and c.id = m.channel_id;
  perform refuse_unless(m.deleted_at is null and m.state = 'visible', 'conflict');
  if adding then
    select coalesce((select y.settings from channel_types y where y.tenant_id = t and y.name = ch.type), '{}') || ch.settings into ty;
    perform refuse_unless(coalesce((ty ->> 'reactions')::boolean, true), 'not_allowed');
    perform refuse_unless(not ch.frozen, 'channel_frozen');
    ruling := ruling_of(hooks -> 'rulings', ch.type);
    perform refuse_unless(ruling = '{}', case coalesce(ruling -> 'block', ruling -> 'hold') ->> 'kind' when 'ip' then 'address_blocked' else 'content_blocked' end,
      jsonb_build_object('list', coalesce(ruling -> 'block', ruling -> 'hold')));
    shadow := is_shadowed(ch.id, actor);
    insert into message_reactions (tenant_id, message_id, user_id, emoji, shadowed) values (t, msg, actor, react.emoji, shadow) on conflict do nothing;
    if found then items := items || jsonb_build_array(jsonb_build_object('type', 'reaction.new', 'emoji', react.emoji, 'secret', shadow)); end if;
  end if;
  for gone in delete from message_reactions r where r.tenant_id = t and r.message_id = msg and r.user_id = actor
      and case when adding then r.emoji <> react.emoji and coalesce((ty ->> 'oneReaction')::boolean, false) else r.emoji = react.emoji end
      returning r.emoji, r.shadowed loop
    items := jsonb_build_array(jsonb_build_object('type', 'reaction.deleted', 'emoji', gone.emoji, 'secret', gone.shadowed)) || items;
  end loop;
  if items = '[]' then return; end if;
  return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries from record_events((
    select jsonb_agg(jsonb_build_object('n', i.n, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', m.channel_id, 'type', i.item ->> 'type',
      'data', d.data::text, 'audience', case when d.secret then actor end,
      'webhooks', case when d.secret then '[]' else coalesce((select jsonb_agg(w) from jsonb_array_elements(hooks -> (i.item ->> 'type')) w
        where passes_filter(w -> 'filter', d.data) and in_scopes(w -> 'scopes', ch)), '[]') end))
    from jsonb_array_elements(items) with ordinality i(item, n)
    cross join lateral (select jsonb_build_object('channelId', m.channel_id, 'messageId', msg, 'userId', actor, 'emoji', i.item ->> 'emoji') as data,
      m.shadowed or (i.item ->> 'secret')::boolean as secret) d)) r;
end $$;

-- Once approved, a message comes as if it were sent now: with the number of its event, and raising unread.
create or replace function public.let_appear(msg uuid) returns boolean language plpgsql as $$
declare m messages; st streams; counts boolean;
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg;
  select * into st from streams s where s.tenant_id = m.tenant_id and s.kind = 'channel' and s.id = m.channel_id for no key update;
  counts := not m.shadowed and not m.silent and m.kind = 'text' and m.show_in_channel;
  update messages x set state = 'visible', expires_at = null, updated_at = now(), seq = st.last_seq + 1,
      ordinal = case when counts then st.last_ordinal + 1 end where x.tenant_id = m.tenant_id and x.id = msg;
  update message_mentions x set ordinal = st.last_ordinal + 1 where counts and m.mentioning is distinct from 'channel' and x.tenant_id = m.tenant_id and x.message_id = msg;
  insert into thread_members (tenant_id, parent_id, user_id, read_seq)
    select m.tenant_id, m.parent_id, x.user_id, max(x.at) from (
        select p.user_id, 0 as at from messages p where p.tenant_id = m.tenant_id and p.id = m.parent_id union all
        select n.user_id, st.last_seq from message_mentions n where n.tenant_id = m.tenant_id and n.message_id = msg and not n.here) x
     where m.parent_id is not null and not m.shadowed and x.user_id is not null group by 3 on conflict do nothing;
  update streams s set last_ordinal = s.last_ordinal + case when counts then 1 else 0 end,
      last_message_at = case when m.shadowed then s.last_message_at else now() end
   where s.tenant_id = m.tenant_id and s.kind = 'channel' and s.id = m.channel_id;
  return true;
end $$;
