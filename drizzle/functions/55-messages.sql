-- How a message is shown.
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
