-- Moves the acting user's mark of a thread on, never beyond its last reply; told to the others unless it is private or the channel
-- keeps no receipts.
create or replace function public.mark_thread_read(msg uuid, upto bigint, secret boolean, event uuid, hooks jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare t uuid := current_tenant(); me uuid := current_user_id(); chan uuid; last bigint; moved boolean; told boolean;
begin
  select least(upto, max(r.seq)) into last from messages r where r.tenant_id = t and r.parent_id = msg;
  insert into thread_members (tenant_id, parent_id, user_id, following) values (t, msg, me, false) on conflict do nothing;
  update thread_members x set read_seq = last, read_at = now() where x.tenant_id = t and x.parent_id = msg and x.user_id = me and x.read_seq < last
    returning true into moved;
  select m.channel_id, coalesce((c.settings ->> 'reads')::boolean, (y.settings ->> 'reads')::boolean, true) into chan, told
    from messages m join channels c on c.tenant_id = t and c.id = m.channel_id left join channel_types y on y.tenant_id = t and y.name = c.type
   where m.tenant_id = t and m.id = msg;
  if moved is null or secret or not told then return; end if;
  insert into thread_reads (tenant_id, parent_id, user_id, seq) values (t, msg, me, last) on conflict do nothing;
  return query select * from record_channel_event(chan, event, 'message.read',
    jsonb_build_object('channelId', chan, 'parentId', msg, 'userId', me, 'seq', last, 'readAt', iso(now())), hooks);
end $$;
