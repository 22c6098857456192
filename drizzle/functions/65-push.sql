-- Whoever writes a message, and by whatever way it appears: where the tenant has an account to push by, its members are
-- to be notified. In the transaction of the message itself, so that no crash can lose it.
create or replace function public.push_wanted(tenant uuid) returns boolean language plpgsql stable as $$
begin
  return exists (select 1 from integrations i where i.tenant_id = tenant and i.medium = 'push' and i.status <> 'disabled');
end $$;

create or replace function public.notes_push() returns trigger language plpgsql as $$
declare tenant uuid;
begin
  for tenant in select distinct f.tenant_id from fresh f loop
    if push_wanted(tenant) then
      insert into push_tasks (tenant_id, message_id)
        select m.tenant_id, m.id from fresh m where m.tenant_id = tenant and m.state = 'visible' and not m.shadowed and not m.silent and m.kind = 'text';
    end if;
  end loop;
  return null;
end $$;
create or replace function public.notes_push_of_appeared() returns trigger language plpgsql as $$
begin
  if push_wanted(new.tenant_id) then
    insert into push_tasks (tenant_id, message_id) values (new.tenant_id, new.id) on conflict do nothing;
  end if;
  return null;
end $$;
create or replace trigger messages_push after insert on messages referencing new table as fresh
  for each statement execute function notes_push();
create or replace trigger messages_push_appeared after update of state on messages for each row
  when (old.state <> 'visible' and new.state = 'visible' and not new.shadowed and not new.silent and new.kind = 'text')
  execute function notes_push_of_appeared();

-- What a notification of a message is made of; nothing where nobody is to be notified any more.
create or replace function public.push_subject(message uuid) returns jsonb language sql stable as $$
  select jsonb_build_object('channelId', c.id, 'channel', c.name, 'sender', coalesce(u.display_name, u.username), 'text', m.text,
      'messageId', m.id, 'seq', m.seq, 'parentId', m.parent_id,
      'attachments', array(select a.type from message_attachments a where a.tenant_id = m.tenant_id and a.message_id = m.id order by a.position),
      'templates', coalesce((select jsonb_object_agg(p.kind, jsonb_build_object('title', p.title, 'body', p.body)) from push_templates p
        where p.tenant_id = m.tenant_id), '{}'))
    from push_tasks t join messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
    join channels c on c.tenant_id = m.tenant_id and c.id = m.channel_id
    left join users u on u.tenant_id = m.tenant_id and u.id = m.user_id
   where t.tenant_id = current_tenant() and t.message_id = message and m.deleted_at is null
     and coalesce((c.settings ->> 'push')::boolean, (select (y.settings ->> 'push')::boolean from channel_types y
       where y.tenant_id = c.tenant_id and y.name = c.type), true)
$$;

create or replace function public.no_push(message uuid) returns void language sql as
$$ delete from push_tasks where tenant_id = current_tenant() and message_id = message $$;

-- The next deliveries of a message's notifications, and how far that went, in one transaction. `notices` are by kind:
-- message, mention and reply. A member is notified who is not online, can see the message, and wants to know.
create or replace function public.expand_push(message uuid, notices jsonb, most int) returns table (ids uuid[], done boolean) language plpgsql as $$
declare t uuid := current_tenant(); task push_tasks; m messages; ch channels;
begin
  select * into task from push_tasks p where p.tenant_id = t and p.message_id = message for update skip locked;
  if not found then return query select '{}'::uuid[], true; return; end if;
  select * into m from messages x where x.tenant_id = t and x.id = message;
  select * into ch from channels c where c.tenant_id = t and c.id = m.channel_id;
  with target as materialized (
      select gen_random_uuid() as id, d.user_id, d.id as device, d.push_token, d.device_id, account.id as account,
          case when mentioned.yes then 'mention' when m.parent_id is not null then 'reply' else 'message' end as kind
        from channel_members cm join users u on u.tenant_id = t and u.id = cm.user_id and u.deactivated_at is null
        join user_devices d on d.tenant_id = t and d.user_id = cm.user_id and d.push_token is not null
        join lateral (select x.id from integrations x where x.tenant_id = t and x.medium = 'push' and x.status <> 'disabled'
          and x.provider in (d.push_provider, 'sandbox') order by x.provider = 'sandbox', x.created_at, x.id limit 1) account on true
        cross join lateral (select exists (select 1 from message_mentions x where x.tenant_id = t and x.message_id = m.id and x.user_id = cm.user_id) as yes) mentioned
        left join lateral (select (array_agg(p.level order by p.channel_id is null))[1] as level, max(p.snoozed_until) as snoozed_until
          from push_preferences p where p.tenant_id = t and p.user_id = cm.user_id and (p.channel_id = ch.id or p.channel_id is null)) wish on true
       where cm.tenant_id = t and cm.channel_id = ch.id and cm.user_id is distinct from m.user_id and not cm.muted
         and (cm.user_id, d.id) > (task.after_user, task.after_device)
         and not exists (select 1 from live_sockets s where s.tenant_id = t and s.user_id = cm.user_id and s.until > now())
         and not exists (select 1 from user_blocks b where b.tenant_id = t and b.user_id = cm.user_id and b.blocked_user_id = m.user_id)
         and not exists (select 1 from bans b where b.tenant_id = t and b.user_id = cm.user_id and not b.shadow
           and (b.channel_id = ch.id or b.channel_id is null) and (b.expires_at is null or b.expires_at > now()))
         and (select v.sees from seeing(ch, cm.user_id) v) and coalesce(wish.snoozed_until <= now(), true)
         and case coalesce(wish.level, 'all') when 'none' then false when 'mentions' then mentioned.yes else true end
         and (m.parent_id is null or m.show_in_channel or mentioned.yes or exists (select 1 from messages x where x.tenant_id = t
           and (x.id = m.parent_id or x.parent_id = m.parent_id) and x.user_id = cm.user_id and x.deleted_at is null))
       order by cm.user_id, d.id limit most),
    put as (insert into deliveries (tenant_id, id, channel_id, message_id, integration_id, medium, recipient, content)
      select t, x.id, ch.id, m.id, x.account, 'push', x.user_id::text,
        (notices -> x.kind) || jsonb_build_object('token', x.push_token, 'deviceId', x.device_id) from target x returning deliveries.id),
    reached as (update push_tasks p set after_user = x.user_id, after_device = x.device
      from (select y.user_id, y.device from target y order by y.user_id desc, y.device desc limit 1) x where p.tenant_id = t and p.message_id = message)
    select coalesce(array_agg(put.id), '{}'), count(*) < most into ids, done from put;
  if done then perform no_push(message); end if;
  return next;
end $$;

-- Of any tenant that is there: what no queue message has led to, the oldest first. Each that is handed out is due again a
-- while later, so that one that fails again and again holds up nobody; after a day it is news no more.
grant select, update (due_at), delete on push_tasks to parley_door;
drop policy if exists door on push_tasks;
do $$
declare verb text;
begin
  foreach verb in array array['select', 'update', 'delete'] loop
    execute format('drop policy if exists door_%s on public.push_tasks', verb);
    execute format('create policy door_%1$s on public.push_tasks for %1$s to parley_door using (true)', verb);
  end loop;
end $$;
create or replace function door.due_pushes(most int) returns table (tenant_id uuid, message_id uuid)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
  delete from push_tasks p where p.due_at <= now() and p.created_at < now() - interval '1 day';
  return query with due as (select p.tenant_id, p.message_id from push_tasks p join tenants t on t.id = p.tenant_id and t.deleted_at is null
       where p.due_at <= now() order by p.due_at limit most for update of p skip locked)
    update push_tasks p set due_at = now() + interval '5 minutes' from due d
     where p.tenant_id = d.tenant_id and p.message_id = d.message_id returning p.tenant_id, p.message_id;
end $$;
