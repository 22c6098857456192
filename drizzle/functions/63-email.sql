-- Mail that waits to be read is claimed for all tenants at once.
grant select on inbound_raw to parley_door;
grant update (claimed_until, attempts, next_attempt_at) on inbound_raw to parley_door;
do $$
declare verb text;
begin
  foreach verb in array array['select', 'update'] loop
    execute format('drop policy if exists door_%s on public.inbound_raw', verb);
    execute format('create policy door_%1$s on public.inbound_raw for %1$s to parley_door %2$s', verb,
      case verb when 'select' then 'using (true)' else 'using (true) with check (true)' end);
  end loop;
end $$;

-- Takes mails for one consumer: those asked for, or, asked for none, those that wait the longest. Each claim puts off the next try.
create or replace function door.claim_inbound(asked jsonb, most int) returns jsonb
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  with free as (
      select r.tenant_id, r.id from inbound_raw r
       where r.status = 'pending' and (r.claimed_until is null or r.claimed_until <= now())
         and case when asked is null then r.next_attempt_at <= now()
           else (r.tenant_id, r.id) in (select a.t, a.id from jsonb_to_recordset(asked) a(t uuid, id uuid)) end
       order by r.next_attempt_at limit most for update of r skip locked),
    taken as (update inbound_raw r set claimed_until = now() + interval '120 seconds', attempts = r.attempts + 1,
        next_attempt_at = now() + make_interval(secs => least(3600, 30 * 2 ^ least(r.attempts, 7)))
      from free f where r.tenant_id = f.tenant_id and r.id = f.id returning r.*)
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', k.tenant_id, 'id', k.id, 'inboxId', k.inbox_id, 'source', k.source,
      'envelopeFrom', k.envelope_from, 'envelopeTo', k.envelope_to, 'tag', k.tag, 'route', k.route, 'size', k.size, 'sha256', k.sha256,
      'attempt', k.attempts, 'address', i.local_part || '@' || d.name, 'authServers', d.auth_servers,
      'autoReply', i.auto_reply_text is not null)), '[]')
    from taken k join inboxes i on i.tenant_id = k.tenant_id and i.id = k.inbox_id
    join domains d on d.tenant_id = i.tenant_id and d.id = i.domain_id
$$;

-- Conversations leave the trash after a while (door.remove_expired).
grant select, delete on channels to parley_door;
grant select on messages, message_attachments to parley_door;
grant delete on inbound_raw, outbound_raw to parley_door;
grant select on outbound_raw to parley_door;
do $$
declare t text;
begin
  foreach t in array array['channels', 'messages', 'message_attachments', 'outbound_raw'] loop
    execute format('drop policy if exists door on public.%I', t);
    execute format('create policy door on public.%I for select to parley_door using (true)', t);
  end loop;
  foreach t in array array['channels', 'inbound_raw', 'outbound_raw'] loop
    execute format('drop policy if exists door_delete on public.%I', t);
    execute format('create policy door_delete on public.%I for delete to parley_door using (true)', t);
  end loop;
end $$;

-- Received mails that became no message are kept for 30 days, all others as long as their message is.
create or replace function door.expired_raws(most int) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', x.tenant_id, 'id', x.id)), '[]') from (
    (select r.tenant_id, r.id from inbound_raw r
     where r.status <> 'pending' and (r.status <> 'recorded' or r.message_id is null)
       and r.finished_at < now() - case r.status when 'recorded' then interval '0' else interval '30 days' end
     order by r.finished_at limit most)
    union all
    (select o.tenant_id, o.id from outbound_raw o where o.message_id is null order by o.created_at limit most)
    limit most) x
$$;

create or replace function door.forget_raws(gone jsonb) returns void
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  delete from inbound_raw r using jsonb_to_recordset(gone) g("tenantId" uuid, id uuid)
   where r.tenant_id = g."tenantId" and r.id = g.id and r.status <> 'pending';
  delete from outbound_raw o using jsonb_to_recordset(gone) g("tenantId" uuid, id uuid)
   where o.tenant_id = g."tenantId" and o.id = g.id and o.message_id is null
$$;

-- What the rules say of a sender: the narrowest decides.
create or replace function public.takes_sender(inbox uuid, sender text) returns boolean language plpgsql stable as $$
declare domain text := substring(sender from '[^@]*$');
begin
  return coalesce((select r.action = 'allow' from sender_rules r
     where r.tenant_id = current_tenant() and (r.inbox_id = inbox or r.inbox_id is null)
       and (r.pattern in ('*', sender, domain) or domain like '%.' || r.pattern)
     order by r.inbox_id is null, r.pattern = '*', position('@' in r.pattern) = 0, length(r.pattern) desc limit 1), true);
end $$;

-- The contact that has this address, made where there is none.
create or replace function public.contact_of(given jsonb) returns uuid language plpgsql as $$
declare t uuid := current_tenant(); who uuid; made uuid := (given ->> 'id')::uuid;
begin
  select i.contact_id into who from contact_identities i where i.tenant_id = t and i.medium = 'email' and i.value = given ->> 'address';
  if who is not null then return who; end if;
  insert into contacts (tenant_id, id, display_name) values (t, made, given ->> 'name');
  insert into contact_identities (tenant_id, id, contact_id, medium, value)
    values (t, gen_random_uuid(), made, 'email', given ->> 'address') on conflict do nothing;
  if found then return made; end if;
  -- Another mail of the same sender was faster.
  delete from contacts c where c.tenant_id = t and c.id = made;
  select i.contact_id into who from contact_identities i where i.tenant_id = t and i.medium = 'email' and i.value = given ->> 'address';
  return who;
end $$;

-- Mails of an inbox that share an id wait for each other; who records several takes all of theirs at once.
create or replace function public.lock_mail_ids(mails jsonb) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(k.key) from (
    select distinct hashtextextended(current_tenant() || ' ' || (m ->> 'inboxId')::uuid || ' ' || (i ->> 'id'), 0) as key
      from jsonb_array_elements(mails) m, jsonb_array_elements(m -> 'ids') i order by 1) k;
end $$;

-- Makes a received mail a message of the conversation that it belongs to, once. Mails of an inbox that share an id are of one
-- conversation, so they wait for each other (lock_mail_ids, before this); those that share none do not. The locks are taken in
-- this order: ids, what is counted of the tenant (contacts, files), streams. `mail` is made by src/email/recording.ts.
create or replace function public.record_inbound(mail jsonb) returns table (id uuid, kind text, stream uuid, seq bigint, type text,
  at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare t uuid := current_tenant(); box uuid := (mail ->> 'inboxId')::uuid; raw inbound_raw; known emails; ids text[]; places uuid[]; chan uuid;
  who uuid; msg uuid := (mail ->> 'messageId')::uuid; one uuid; said record; data jsonb; is_new boolean := false;
  title text := plain_subject(mail ->> 'subject'); named text; first text; is_named boolean := false;
begin
  ids := array(select i ->> 'id' from jsonb_array_elements(mail -> 'ids') i);
  select * into raw from inbound_raw r where r.tenant_id = t and r.id = (mail ->> 'rawId')::uuid for no key update;
  if raw.status is distinct from 'pending' then return; end if;
  select * into known from emails e where e.tenant_id = t and e.inbox_id = box and e.rfc_id = mail ->> 'rfcId'
    order by e.fingerprint = mail ->> 'fingerprint' desc limit 1;
  if known.fingerprint = mail ->> 'fingerprint' then
    perform settle_inbound(raw.id, 'duplicate', null, known.message_id);
    return;
  end if;
  if not takes_sender(box, mail #>> '{contact,address}') then
    perform settle_inbound(raw.id, 'blocked', null, null);
    return;
  end if;
  who := contact_of(mail -> 'contact');
  if mail -> 'files' <> '[]' then
    insert into files (tenant_id, id, name, content_type, size, sha256, status, attached_at, completed_at)
      select t, f.id, f.name, f."contentType", f.size, f.sha256, 'completed', now(), now()
        from jsonb_to_recordset(mail -> 'files') f(id uuid, name text, "contentType" text, size bigint, sha256 text);
  end if;

  places := conversations_of(box, ids);
  if places <> '{}' then
    perform 1 from streams s where s.tenant_id = t and s.kind = 'channel' and s.id = any (places) order by s.id for no key update;
    -- While it waited for them, another mail may have joined some to others.
    perform refuse_unless(places = conversations_of(box, ids), 'conflict');
  end if;
  chan := places[1];
  if chan is null then
    chan := (mail ->> 'channelId')::uuid;
    is_new := true;
    insert into channels (tenant_id, id, medium, type, name, inbox_id) values (t, chan, 'email', 'email', title, box);
    data := jsonb_set(mail -> 'created', '{channel,name}', coalesce(to_jsonb(title), 'null'));
    return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
      from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan,
        'type', 'channel.created', 'data', data::text, 'webhooks', wanting(mail #> '{webhooks,channel.created}', chan, data)))) r;
  else
    select c.name into named from channels c where c.tenant_id = t and c.id = chan;
    -- What somebody called it stays. Most mails bear the name already, and nothing has to be looked up.
    if named is distinct from title or cardinality(places) > 1 then
      first := first_subject(chan);
      is_named := named is not distinct from plain_subject(first) or named is not distinct from first;
    end if;
  end if;
  foreach one in array places[2:] loop
    return query select * from merge_conversations(chan, one, mail -> 'webhooks');
  end loop;
  if not is_new then update channels c set trashed_at = null where c.tenant_id = t and c.id = chan and c.trashed_at is not null; end if;

  select * into said from record_messages(chan, jsonb_build_array(mail -> 'send' || jsonb_build_object('contactId', who)), '[{"n": 0}]');
  perform refuse_unless(said.code is null, 'internal', jsonb_build_object('said', said.code));
  return query select said.event, 'channel', chan, said.seq, 'message.new', now(),
    case when is_heard('channel', chan, 'message.new') then said.payload end, said.audience, said.deliveries;
  insert into emails (tenant_id, message_id, inbox_id, rfc_id, fingerprint, subject, text, html, left_out, sent_at, envelope_from, envelope_to, tag, raw_key,
      raw_size, verdicts, authenticated, auto_reply, bounce, list, spam, id_reused, why)
    select t, msg, box, e."rfcId", e.fingerprint, e.subject, e.text, e.html, e."leftOut", e."sentAt", raw.envelope_from, raw.envelope_to, raw.tag, e."rawKey",
      raw.size, e.verdicts, e.authenticated, e."autoReply", e.bounce, e.list, e.spam, known.message_id is not null,
      e.why || jsonb_build_object('joinedBy', case when not is_new then (select jsonb_agg(distinct f.referenced_id) from message_references f
        where f.tenant_id = t and f.inbox_id = box and f.referenced_id = any (ids)) end, 'merged', to_jsonb(places[2:]))
    from jsonb_to_record(mail) e("rfcId" text, fingerprint text, subject text, text text, html text, "leftOut" text[], "sentAt" timestamptz, "rawKey" text,
      verdicts jsonb, authenticated boolean, "autoReply" boolean, bounce boolean, list boolean, spam boolean, why jsonb);
  insert into message_recipients (tenant_id, id, message_id, kind, position, address, written, name)
    select t, gen_random_uuid(), msg, r.kind, r.position, r.address, r.written, r.name
      from jsonb_to_recordset(mail -> 'recipients') r(kind text, position int, address text, written text, name text);
  insert into message_references (tenant_id, message_id, inbox_id, referenced_id, kind, position)
    select t, msg, box, i.id, i.kind, i.position from jsonb_to_recordset(mail -> 'ids') i(id text, kind text, position int) on conflict do nothing;
  title := case when is_named then plain_subject(first_subject(chan)) end;
  if is_named and title is distinct from named then
    update channels c set name = title, updated_at = now() where c.tenant_id = t and c.id = chan;
    data := jsonb_build_object('channelId', chan, 'changed', jsonb_build_object('name', title));
    return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
      from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan,
        'type', 'channel.updated', 'data', data::text, 'webhooks', wanting(mail #> '{webhooks,channel.updated}', chan, data)))) r;
  end if;
  data := mail -> 'received' || jsonb_build_object('channelId', chan);
  return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(jsonb_build_array(jsonb_build_object('n', 0, 'id', gen_random_uuid(), 'kind', 'channel', 'stream', chan,
      'type', mail ->> 'receivedType', 'data', data::text, 'webhooks', wanting(mail #> array['webhooks', mail ->> 'receivedType'], chan, data)))) r;
  perform settle_inbound(raw.id, 'recorded', null, msg);
end $$;

-- What became of a received mail.
create or replace function public.settle_inbound(raw uuid, status text, error text, message uuid) returns boolean language plpgsql as $$
begin
  update inbound_raw r set status = settle_inbound.status, error = settle_inbound.error, message_id = message, claimed_until = null, finished_at = now()
   where r.tenant_id = current_tenant() and r.id = raw and r.status = 'pending';
  return case when found then true end;
end $$;

call hand_over_doors();
