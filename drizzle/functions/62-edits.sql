create or replace function public.replace_attachments(m messages, attachments jsonb) returns boolean language plpgsql as $$
begin
  delete from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id;
  insert into message_attachments select a.* from jsonb_array_elements(attachments) with ordinality g
    cross join lateral new_attachment(m.channel_id, m.id, g.value, g.ordinality) a;
  update files f set attached_at = coalesce(f.attached_at, now()) from message_attachments a
   where f.tenant_id = m.tenant_id and f.id = a.file_id and a.tenant_id = m.tenant_id and a.message_id = m.id;
  return true;
end $$;

create or replace function public.replace_mentions(m messages, mentions jsonb) returns boolean language plpgsql as $$
begin
  delete from message_mentions x where x.tenant_id = m.tenant_id and x.message_id = m.id and not x.here;
  insert into message_mentions (tenant_id, message_id, user_id, channel_id, ordinal)
    select m.tenant_id, m.id, u.id, m.channel_id, case when m.mentioning is distinct from 'channel' then m.ordinal end
      from jsonb_array_elements_text(mentions) n join users u on u.tenant_id = m.tenant_id and u.id = n::uuid on conflict do nothing;
  return true;
end $$;

create or replace function public.must_say_something(m messages) returns boolean language plpgsql as $$
begin
  if exists (select 1 from messages x where x.tenant_id = m.tenant_id and x.id = m.id and x.text !~ '\S')
      and not exists (select 1 from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id) then
    perform refuse_field('text', 'A message has text or attachments.');
  end if;
  return true;
end $$;

-- A held edit that waits no longer, whatever became of it.
create or replace function public.end_held_edit(msg uuid, editor uuid) returns void language sql as $$
  delete from moderation_queue q where q.tenant_id = current_tenant() and q.message_id = msg and q.status = 'pending' and q.change is not null
    and q.user_id is not distinct from editor;
  delete from message_shadows s where s.tenant_id = current_tenant() and s.message_id = msg and s.user_id = editor
$$;

-- Makes an edit everybody's. What the message said before is kept.
create or replace function public.apply_edit(m messages, patch jsonb, edit uuid, editor uuid) returns boolean language plpgsql as $$
declare msg uuid := m.id; before jsonb := message_json(m);
begin
  insert into message_edits (tenant_id, id, message_id, text, metadata, attachments, mentions, edited_by)
    values (m.tenant_id, edit, msg, before ->> 'text', before -> 'metadata', before -> 'attachments', before -> 'mentions', editor);
  perform end_held_edit(msg, editor);
  update messages x set text = coalesce(patch ->> 'text', m.text), metadata = merged_json(m.metadata, coalesce(patch -> 'metadata', '{}')),
      edited_at = now(), updated_at = now() where x.tenant_id = m.tenant_id and x.id = msg;
  if patch ? 'attachments' then perform replace_attachments(m, patch -> 'attachments'); end if;
  if patch ? 'mentions' then perform replace_mentions(m, patch -> 'mentions'); end if;
  return must_say_something(m);
end $$;

-- Changes what a message says: { text, metadata (merged), attachments, mentions, rulings }, each as far as it is given. What it said before is kept.
-- Under a shadow ban both are the editor's alone; so is an edit that a block list holds, until it is approved. `rule` says who may mention, and
-- with mayFrozen who may write in a frozen channel.
create or replace function public.edit_message(msg uuid, patch jsonb, edit uuid, rule jsonb) returns boolean language plpgsql as $$
declare m messages; ch channels; ty jsonb; actor uuid := current_user_id(); before jsonb; ruling jsonb; standing text;
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg for no key update;
  perform refuse_unless(m.deleted_at is null and m.state = 'visible', 'conflict');
  select * into ch from channels c where c.tenant_id = m.tenant_id and c.id = m.channel_id;
  select coalesce((select y.settings from channel_types y where y.tenant_id = m.tenant_id and y.name = ch.type), '{}') || ch.settings into ty;
  standing := coalesce(standing_in(ch, actor), 'none');
  perform refuse_unless(not ch.frozen or actor is null or not rule ? 'mayFrozen' or may(rule -> 'mayFrozen', ch.type, standing), 'channel_frozen');
  ruling := ruling_of(patch -> 'rulings', ch.type);
  if ruling ? 'block' then perform refuse(case ruling #>> '{block,kind}' when 'ip' then 'address_blocked' else 'content_blocked' end,
    jsonb_build_object('list', ruling -> 'block')); end if;
  patch := patch - 'rulings' || case when ruling ? 'text' then jsonb_build_object('text', ruling -> 'text') else '{}' end;
  if length(patch ->> 'text') > (ty ->> 'maxLength')::int then perform refuse_field('text', 'It is longer than this channel allows.'); end if;
  if patch -> 'attachments' <> '[]' and (ty ->> 'uploads')::boolean = false then perform refuse_field('attachments', 'This channel takes no attachments.'); end if;
  if not has_files(coalesce(patch -> 'attachments', '[]')) then perform refuse_field('attachments', 'A file is missing, or not uploaded completely.'); end if;
  perform refuse_unless(actor is null or coalesce(patch -> 'mentions', '[]') = '[]' or may(rule, ch.type, standing), 'not_allowed');
  if not is_private_change(m) and not ruling ? 'hold' then return apply_edit(m, patch, edit, actor); end if;
  before := message_json(m, actor);
  if is_private_change(m) then
    insert into message_edits (tenant_id, id, message_id, text, metadata, attachments, mentions, edited_by, shadowed)
      values (m.tenant_id, edit, msg, before ->> 'text', before -> 'metadata', before -> 'attachments', before -> 'mentions', actor, true);
  else
    perform end_held_edit(msg, actor);
    insert into moderation_queue (tenant_id, id, kind, message_id, user_id, channel_id, source, reason, change)
      values (m.tenant_id, edit, 'message', msg, actor, ch.id, 'block_list', ruling #>> '{hold,name}', patch);
    perform set_config('app.held', msg::text, true);
  end if;
  insert into message_shadows as s (tenant_id, message_id, user_id, patch) select m.tenant_id, msg, actor,
    jsonb_build_object('editedAt', iso(now())) || jsonb_strip_nulls(jsonb_build_object('text', patch -> 'text', 'mentions', patch -> 'mentions'))
    || case when patch ? 'metadata' then jsonb_build_object('metadata', merged_json(before -> 'metadata', patch -> 'metadata')) else '{}' end
    || case when patch ? 'attachments' then jsonb_build_object('attachments', coalesce((select jsonb_agg(attachment_json(a) order by g.ordinality)
      from jsonb_array_elements(patch -> 'attachments') with ordinality g cross join lateral new_attachment(ch.id, msg, g.value, g.ordinality) a), '[]')) else '{}' end
    where actor is not null
    on conflict (tenant_id, message_id, user_id) do update set patch = s.patch || excluded.patch;
  return true;
end $$;
