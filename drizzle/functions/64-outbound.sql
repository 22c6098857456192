-- What mail from an inbox bears: null where there is no such inbox for the acting user. A tag can be put behind a name
-- where mail to such an address comes in.
create or replace function public.sending_place(inbox uuid) returns jsonb language plpgsql stable as $$
begin
  return (select jsonb_build_object('inboxId', i.id, 'address', i.local_part || '@' || d.name, 'name', coalesce(i.name, d.from_name),
      'replyTo', d.reply_to, 'bounceAddress', d.bounce_address, 'tagged', i.plus_addressing or i.is_catchall,
      'bounceTagged', exists (select 1 from inboxes b join domains e on e.tenant_id = b.tenant_id and e.id = b.domain_id
        where b.tenant_id = i.tenant_id and b.local_part || '@' || e.name = lower(d.bounce_address) and b.deleted_at is null
          and (b.plus_addressing or b.is_catchall)))
    from inboxes i join domains d on d.tenant_id = i.tenant_id and d.id = i.domain_id
   where i.tenant_id = current_tenant() and i.id = inbox and works_in_inbox(i.tenant_id, i.id, current_user_id()));
end $$;

-- Whether mail to an address comes to the tenant, or came to an inbox that is no more.
create or replace function public.is_own_address(address text) returns boolean language sql stable as $$
  select exists (select 1 from domains d join inboxes i on i.tenant_id = d.tenant_id and i.domain_id = d.id
   where d.tenant_id = current_tenant() and d.name = split_part(address, '@', -1)
     and (i.local_part || '@' || d.name = address or starts_with(address, i.local_part || '+')
       or i.is_catchall and i.deleted_at is null and d.deleted_at is null and d.status = 'verified'))
$$;

-- The mail that an answer is about: the one that is named, else the last one received, else the last one sent. Others'
-- addresses are as they stood in it. Our own among them are those of the tenant's inboxes, all that a catch-all takes, and
-- the one that it came to.
create or replace function public.answered_mail(chan uuid, named uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('messageId', m.id, 'direction', m.direction, 'inboxId', e.inbox_id, 'rfcId', e.rfc_id, 'subject', e.subject, 'date', iso(coalesce(e.sent_at, m.created_at)),
      'text', e.text, 'html', e.html,
      'references', array(select f.referenced_id from message_references f where f.tenant_id = m.tenant_id and f.message_id = m.id
        and f.kind in ('reference', 'in_reply_to') order by f.kind = 'in_reply_to', f.position),
      'learned', array(select f.referenced_id from message_references f where f.tenant_id = m.tenant_id and f.message_id = m.id
        and f.kind = 'provider' order by f.referenced_id limit 5),
      'recipients', (select coalesce(jsonb_agg(jsonb_build_object('kind', r.kind, 'address', coalesce(r.written, r.address), 'name', r.name) order by r.kind, r.position), '[]')
        from message_recipients r where r.tenant_id = m.tenant_id and r.message_id = m.id),
      'own', array(select r.address from message_recipients r where r.tenant_id = m.tenant_id and r.message_id = m.id
        and (lower(r.address) = lower(e.envelope_to) or is_own_address(lower(r.address)))),
      'files', (select coalesce(jsonb_agg(jsonb_build_object('fileId', a.file_id, 'contentId', a.metadata ->> 'contentId',
          'inline', coalesce(a.metadata ->> 'disposition' = 'inline', false)) order by a.position), '[]')
        from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id and a.file_id is not null))
    from messages m join emails e on e.tenant_id = m.tenant_id and e.message_id = m.id
   where m.tenant_id = current_tenant() and m.channel_id = chan and m.seq is not null and m.deleted_at is null and (named is null or m.id = named)
   order by m.direction = 'inbound' desc, m.seq desc limit 1
$$;

-- The account that sends for a domain; null leaves it to the tenant's first that works.
create or replace function public.account_of_domain(dom uuid) returns uuid language plpgsql stable as $$
begin
  return (select n.integration_id from domain_identities n where n.tenant_id = current_tenant() and n.domain_id = dom and n.integration_id is not null
    order by n.created_at desc, n.id desc limit 1);
end $$;

-- Whether mail goes through the sandbox, which asks for no proof of a domain: so does that of a tenant without an account.
drop function if exists public.sends_by_sandbox();
create or replace function public.sends_by_sandbox(account uuid) returns boolean language plpgsql stable as $$
begin
  return coalesce((select i.provider = 'sandbox' from integrations i where i.tenant_id = current_tenant() and i.medium = 'email'
    and (account is null or i.id = account)
    order by array_position(array['active', 'failing', 'disabled'], i.status), i.created_at, i.id limit 1), true);
end $$;

-- Ends the batch where mail may not go out from this inbox. `bound` are the inboxes that the credential is bound to, if any.
create or replace function public.must_send_from(inbox uuid, bound jsonb) returns boolean language plpgsql stable as $$
declare box inboxes; dom domains;
begin
  select * into box from inboxes i where i.tenant_id = current_tenant() and i.id = inbox and works_in_inbox(i.tenant_id, i.id, current_user_id());
  perform refuse_unless(box.id is not null, 'not_found');
  perform refuse_unless(bound is null or bound = 'null' or bound ? inbox::text, 'resource_not_allowed');
  select * into dom from domains d where d.tenant_id = current_tenant() and d.id = box.domain_id;
  perform refuse_unless(box.deleted_at is null and dom.deleted_at is null, 'inbox_deleted');
  return refuse_unless(dom.status = 'verified' or sends_by_sandbox(account_of_domain(dom.id)), 'domain_not_verified');
end $$;

-- Makes a mail of ours a message of its conversation, with a delivery for each recipient: those to whom nothing may be
-- sent have theirs too, ended. `mail` is made by src/email/outgoing.ts. Returns { message, isNew, pending, events }.
create or replace function public.record_outbound(mail jsonb) returns jsonb language plpgsql set plan_cache_mode = force_generic_plan as $$
declare t uuid := current_tenant(); box uuid := (mail ->> 'inboxId')::uuid; chan uuid := (mail ->> 'channelId')::uuid; msg uuid := (mail ->> 'messageId')::uuid;
  account uuid := (select account_of_domain(i.domain_id) from inboxes i where i.tenant_id = t and i.id = box); said record; d record;
  reason text; events jsonb := '[]'; pending jsonb := '[]'; refused jsonb := '[]'; data jsonb;
begin
  perform must_send_from(box, mail -> 'bound');
  perform refuse_unless(sending_place(box) = mail -> 'place', 'conflict', '{"stale": true}');
  if mail -> 'files' <> '[]' then
    insert into files (tenant_id, id, name, content_type, size, sha256, status, created_by, attached_at, completed_at)
      select t, f.id, f.name, f."contentType", f.size, f.sha256, 'completed', current_user_id(), now(), now()
        from jsonb_to_recordset(mail -> 'files') f(id uuid, name text, "contentType" text, size bigint, sha256 text);
  end if;
  if mail ? 'created' then
    insert into channels (tenant_id, id, medium, type, name, inbox_id) values (t, chan, 'email', 'email', mail ->> 'name', box) on conflict do nothing;
    data := mail -> 'created';
    events := told_of(record_item(chan, 'channel.created', data, mail #> '{webhooks,channel.created}'));
  else
    update channels c set trashed_at = null where c.tenant_id = t and c.id = chan and c.trashed_at is not null;
  end if;
  select * into said from record_messages(chan, jsonb_build_array(mail -> 'send'), jsonb_build_array(jsonb_build_object('n', 0, 'userId', current_user_id())));
  if said.code = 'duplicate' then
    delete from files f where f.tenant_id = t and f.id in (select (x ->> 'id')::uuid from jsonb_array_elements(mail -> 'files') x);
    return jsonb_build_object('message', said.message, 'isNew', false, 'pending', '[]'::jsonb, 'events', '[]'::jsonb);
  end if;
  perform refuse_send(said.code);
  events := events || jsonb_build_array(jsonb_build_object('id', said.event, 'streamKind', 'channel', 'streamId', chan, 'seq', said.seq,
    'type', 'message.new', 'createdAt', iso(now()), 'payload',
    case when is_heard('channel', chan, 'message.new') then said.payload end, 'audience', said.audience, 'deliveries', to_jsonb(said.deliveries)));
  insert into emails (tenant_id, message_id, inbox_id, rfc_id, fingerprint, subject, text, html, sent_at, raw_key, raw_size, authenticated, stream, tags, why)
    select t, msg, box, e."rfcId", msg::text, e.subject, e.text, e.html, now(), e."rawKey", e."rawSize", true, e.stream,
      array(select jsonb_array_elements_text(e.tags)), e.why
    from jsonb_to_record(mail) e("rfcId" text, subject text, text text, html text, "rawKey" text, "rawSize" int, stream text, tags jsonb, why jsonb);
  insert into outbound_raw (tenant_id, id, message_id) values (t, (mail ->> 'rawId')::uuid, msg);
  insert into message_recipients (tenant_id, id, message_id, kind, position, address, written, name)
    select t, gen_random_uuid(), msg, r.kind, r.position, r.address, r.written, r.name
      from jsonb_to_recordset(mail -> 'recipients') r(kind text, position int, address text, written text, name text);
  insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind, position)
    select t, msg, box, i.id, i.kind, i.position from jsonb_to_recordset(mail -> 'ids') i(id text, kind text, position int) on conflict do nothing;
  for d in select * from jsonb_to_recordset(mail -> 'deliveries') x(id uuid, recipient text, content jsonb, entry uuid) loop
    reason := suppressed_reason(d.recipient, mail ->> 'stream');
    insert into deliveries (tenant_id, id, channel_id, message_id, medium, integration_id, recipient, content, status, error)
      values (t, d.id, chan, msg, 'email', account, d.recipient, d.content, case when reason is null then 'pending' else 'suppressed' end, reason);
    if reason is null then
      pending := pending || to_jsonb(d.id);
    else
      insert into delivery_events (tenant_id, id, delivery_id, status, details) values (t, d.entry, d.id, 'suppressed', jsonb_build_object('reason', reason));
      refused := refused || jsonb_build_object('deliveryId', d.id, 'recipient', d.recipient, 'details', jsonb_build_object('reason', reason));
    end if;
  end loop;
  data := (mail -> 'sent') || jsonb_build_object('channelId', chan, 'suppressed', (select coalesce(jsonb_agg(r -> 'recipient'), '[]') from jsonb_array_elements(refused) r));
  events := events || told_of(record_item(chan, 'email.sent', data, mail #> '{webhooks,email.sent}'));
  for data in select r from jsonb_array_elements(refused) r loop
    data := data || jsonb_build_object('channelId', chan, 'messageId', msg, 'medium', 'email', 'status', 'suppressed', 'receipt', 'suppressed');
    events := events || told_of(record_item(chan, 'delivery.updated', data, mail #> '{webhooks,delivery.updated}'));
  end loop;
  return jsonb_build_object('message', said.message, 'isNew', true, 'pending', pending, 'events', events);
end $$;

-- One event of a channel as record_events takes it.
create or replace function public.record_item(chan uuid, type text, data jsonb, hooks jsonb) returns jsonb language sql volatile as $$
  select jsonb_build_array(jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan, 'type', type, 'data', data::text,
    'webhooks', wanting(coalesce(hooks, '[]'), chan, data)))
$$;

-- Records events and tells of them as the Worker announces them.
create or replace function public.told_of(items jsonb) returns jsonb language plpgsql volatile as $$
begin
  return (select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'streamKind', r.kind, 'streamId', r.stream, 'seq', r.seq, 'type', r.type,
      'createdAt', iso(r.at), 'payload', r.payload, 'audience', r.audience, 'deliveries', to_jsonb(r.deliveries)) order by r.seq), '[]')
    from record_events(items) r);
end $$;

-- What record_messages says of a send, as a refusal of the batch.
create or replace function public.refuse_send(code text) returns boolean language plpgsql as $$
begin
  return case when code is null then true
    when code = 'unknown_file' then refuse_field('attachments', 'A file is missing, or not uploaded completely.')
    when code = 'uploads_off' then refuse_field('attachments', 'This channel takes no attachments.')
    when code = 'too_long' then refuse_field('text', 'It is longer than this channel allows.')
    when code = 'overtaken' then refuse('conflict', '{"overtaken": true}')
    when code = 'unknown_quoted' then refuse_field('quotedId', 'There is no such message to quote in this channel.')
    else refuse(code) end;
end $$;

-- Many at once: what is wrong with one leaves the others alone. Returns for each `n` what record_outbound does, or { refused }.
create or replace function public.record_outbounds(mails jsonb) returns jsonb language plpgsql set plan_cache_mode = force_generic_plan as $$
declare mail jsonb; answers jsonb := '[]'; facts text;
begin
  for mail in select m.value from jsonb_array_elements(mails) m loop
    begin
      answers := answers || jsonb_build_array(record_outbound(mail) || jsonb_build_object('n', mail -> 'n'));
    exception when sqlstate 'PA400' then
      get stacked diagnostics facts = pg_exception_detail;
      answers := answers || jsonb_build_array(jsonb_build_object('n', mail -> 'n', 'refused', facts::jsonb));
    end;
  end loop;
  return answers;
end $$;

-- Keeps a mail until its time. A new conversation is there from now on, and begins with its first message.
create or replace function public.schedule_email(mail jsonb) returns boolean language plpgsql as $$
declare t uuid := current_tenant(); m messages; box uuid := (mail ->> 'inboxId')::uuid; chan uuid := (mail ->> 'channelId')::uuid;
begin
  perform must_send_from(box, mail -> 'bound');
  if (mail ->> 'begins')::boolean then
    insert into channels (tenant_id, id, medium, type, name, inbox_id) values (t, chan, 'email', 'email', mail ->> 'name', box);
  else
    -- Whoever merges it moves what is there by then.
    perform 1 from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = chan for share;
    perform refuse_unless(not exists (select 1 from channels c where c.tenant_id = t and c.id = chan and c.merged_into is not null), 'channel_merged');
  end if;
  insert into files (tenant_id, id, name, content_type, size, sha256, status, created_by, attached_at, completed_at)
    select t, f.id, f.name, f."contentType", f.size, f.sha256, 'completed', current_user_id(), now(), now()
      from jsonb_to_recordset(mail -> 'files') f(id uuid, name text, "contentType" text, size bigint, sha256 text);
  perform must_refer(chan, mail);
  insert into messages (tenant_id, id, channel_id, user_id, direction, quoted_id, text, state, metadata, scheduled_for)
    values (t, (mail ->> 'messageId')::uuid, chan, current_user_id(), 'outbound', (mail ->> 'quotedId')::uuid, mail ->> 'text', 'scheduled',
      mail -> 'metadata', (mail ->> 'sendAt')::timestamptz) returning * into m;
  insert into scheduled_emails (tenant_id, message_id, inbox_id, draft) values (t, m.id, box, mail -> 'draft');
  return replace_attachments(m, mail -> 'attachments');
end $$;

-- Drafts of before hold their words as they were made.
update scheduled_emails set draft = draft || jsonb_build_object('tail', null, 'given', jsonb_build_object('text', draft -> 'text', 'html', draft -> 'html'))
 where not draft ? 'given';

-- Changes the mail part of one that still waits, last changed at `as_of`: its whole draft, and what its message shows.
drop function if exists public.change_scheduled_email(uuid, jsonb);
drop function if exists public.change_scheduled_email(uuid, jsonb, jsonb);
create or replace function public.change_scheduled_email(msg uuid, as_of timestamptz, said text, draft jsonb, bound jsonb) returns boolean language plpgsql as $$
declare m messages;
begin
  select * into m from messages x where x.tenant_id = current_tenant() and x.id = msg and x.state = 'scheduled'
    and (current_user_id() is null or x.user_id = current_user_id()) for update;
  perform refuse_unless(m.id is not null, 'not_found');
  perform refuse_unless(m.updated_at = as_of, 'conflict', '{"overtaken": true}');
  update messages x set text = said, updated_at = now() where x.tenant_id = m.tenant_id and x.id = m.id;
  update scheduled_emails s set draft = change_scheduled_email.draft where s.tenant_id = m.tenant_id and s.message_id = msg;
  perform refuse_unless(found, 'not_found');
  return refuse_unless(coalesce(bound, 'null') = 'null' or exists (select 1 from scheduled_emails s
    where s.tenant_id = current_tenant() and s.message_id = msg and bound ? s.inbox_id::text), 'resource_not_allowed');
end $$;

-- Takes back what was to be sent, unless it is being sent just now; a conversation that would have begun with it is no more.
create or replace function public.cancel_scheduled(msg uuid) returns boolean language plpgsql as $$
declare chan uuid;
begin
  select m.channel_id into chan from messages m where m.tenant_id = current_tenant() and m.id = msg and m.scheduled_for is not null and m.seq is null
    and (current_user_id() is null or m.user_id = current_user_id()) for update;
  perform refuse_unless(chan is not null, 'not_found');
  perform remove_message(msg);
  delete from channels c where c.tenant_id = current_tenant() and c.id = chan and c.inbox_id is not null
    and not exists (select 1 from messages m where m.tenant_id = c.tenant_id and m.channel_id = c.id)
    and not exists (select 1 from streams s where s.tenant_id = c.tenant_id and s.kind = 'channel' and s.id = c.id and s.last_seq > 0);
  return true;
end $$;
