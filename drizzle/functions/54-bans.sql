-- The audience of what no user may see.
create or replace function public.nobody() returns uuid language sql immutable parallel safe as
$$ select '00000000-0000-0000-0000-000000000000'::uuid $$;

-- What shuts a user out of a channel: bans of the channel or of the whole tenant; without a channel, of the tenant.
create or replace function public.bans_holding(chan uuid, usr uuid) returns setof bans language sql stable as $$
  select b.* from bans b where b.tenant_id = current_tenant() and b.user_id = usr and not b.shadow
    and (b.channel_id = chan or b.channel_id is null) and (b.expires_at is null or b.expires_at > now())
$$;

create or replace function public.is_banned(chan uuid, usr uuid) returns boolean language plpgsql stable as $$
begin
  return exists (select 1 from bans_holding(chan, usr));
end $$;

-- Until when what a user does in a channel is there for them alone; null where it is not.
create or replace function public.shadowed_until(chan uuid, usr uuid) returns timestamptz language plpgsql stable as $$
begin
  return (select max(coalesce(b.expires_at, now() + interval '100 years')) from bans b where b.tenant_id = current_tenant() and b.user_id = usr and b.shadow
    and (b.channel_id = chan or b.channel_id is null) and (b.expires_at is null or b.expires_at > now()));
end $$;

create or replace function public.is_shadowed(chan uuid, usr uuid) returns boolean language sql stable as $$
  select shadowed_until(chan, usr) is not null
$$;

-- Whether what the acting user does to a message is for them alone, although the message is there for others too.
create or replace function public.is_private_change(m messages) returns boolean language sql stable as $$
  select not m.shadowed and is_shadowed(m.channel_id, current_user_id())
$$;

-- Lifts a ban that holds, and tells so with `item` of record_events; of a shadow ban nobody in the channel hears.
create or replace function public.lift_ban(usr uuid, chan uuid, item jsonb) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare was_shadow boolean;
begin
  delete from bans b where b.tenant_id = current_tenant() and b.user_id = usr and b.channel_id is not distinct from chan
    and (b.expires_at is null or b.expires_at > now()) returning b.shadow into was_shadow;
  perform refuse_unless(found, 'not_found');
  return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
    from record_events(jsonb_build_array(item || jsonb_build_object('audience', case when was_shadow then nobody() end))) r;
end $$;

-- Takes away what a user wrote of late, in one channel or in all: the newest first, so many at most.
create or replace function public.delete_messages_of(usr uuid, chan uuid, since timestamptz, hooks jsonb, most int) returns table (id uuid, kind text,
  stream uuid, seq bigint, type text, at timestamptz, payload text, audience uuid, deliveries uuid[]) language plpgsql as $$
#variable_conflict use_column
declare msg uuid;
begin
  for msg in select m.id from messages m where m.tenant_id = current_tenant() and m.user_id = usr and (chan is null or m.channel_id = chan)
      and m.created_at >= since and m.deleted_at is null and m.seq is not null order by m.created_at desc, m.id limit most for no key update loop
    update messages m set deleted_at = now(), updated_at = now() where m.tenant_id = current_tenant() and m.id = msg;
    return query select r.id, r.kind, r.stream, r.seq, r.type, r.at, r.payload, r.audience, r.deliveries
      from record_message_event(msg, 'message.deleted', false, gen_random_uuid(), hooks) r;
  end loop;
end $$;
