-- Domains are looked at again, and inboxes found by their address, for all tenants at once.
-- What a search may show depends on who works in an inbox.
grant select on domains, inboxes, inbox_members to parley_door;
grant update (checked_at) on domains to parley_door;
do $$
declare p record;
begin
  for p in select * from (values ('domains', 'select'), ('domains', 'update'), ('inboxes', 'select'), ('inbox_members', 'select')) v(name, verb) loop
    execute format('drop policy if exists door_%s on public.%I', p.verb, p.name);
    execute format('create policy door_%1$s on public.%2$I for %1$s to parley_door %3$s', p.verb, p.name,
      case p.verb when 'select' then 'using (true)' else 'using (true) with check (true)' end);
  end loop;
end $$;

-- Its members work in an inbox, and the admins; in one without members every operator does.
create or replace function public.works_in_inbox(tenant uuid, inbox uuid, viewer uuid) returns boolean language plpgsql stable as $$
begin
  if viewer is null then return true; end if;
  return exists (select 1 from inbox_members m where m.tenant_id = tenant and m.inbox_id = inbox and (m.user_id = viewer
      or exists (select 1 from team_members t where t.tenant_id = m.tenant_id and t.team_id = m.team_id and t.user_id = viewer)))
    or exists (select 1 from users u where u.tenant_id = tenant and u.id = viewer and (u.role = 'admin' or (u.role is not null
      and not exists (select 1 from inbox_members m where m.tenant_id = tenant and m.inbox_id = inbox))));
end $$;

-- What somebody is in a channel: by membership, or, where it belongs to an inbox, by their role as an operator. Whoever
-- was put into the inbox without having one may answer there.
create or replace function public.standing_in(chan channels, viewer uuid) returns text language plpgsql stable as $$
begin
  if chan.inbox_id is null then
    return (select m.role from channel_members m where m.tenant_id = chan.tenant_id and m.channel_id = chan.id and m.user_id = viewer);
  end if;
  return (select case u.role when 'admin' then 'admin' when 'editor' then 'moderator' when 'viewer' then 'none' else 'member' end
    from users u where u.tenant_id = chan.tenant_id and u.id = viewer and works_in_inbox(chan.tenant_id, chan.inbox_id, viewer));
end $$;

-- Whether a webhook's scopes let through what happens in a channel: those of one kind are alternatives, each kind that is there must hold.
create or replace function public.in_scopes(scopes jsonb, chan channels) returns boolean language sql stable as $$
  select coalesce((select bool_and(k.held) from (select bool_or(coalesce(s ->> 'value' = case s ->> 'kind' when 'channel' then chan.id::text
      when 'inbox' then chan.inbox_id::text else chan.medium end, false)) as held from jsonb_array_elements(scopes) s group by s ->> 'kind') k), true)
$$;

-- Whose mail for this address is: the inbox of just that name, that of the name before a plus, or the domain's catch-all.
create or replace function door.find_inbox(address text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp as $$
declare parts text[] := regexp_match(lower(address), '^(.+)@([^@]+)$'); wanted text := parts[1]; answer jsonb;
begin
  select jsonb_build_object('tenantId', i.tenant_id, 'id', i.id, 'address', i.local_part || '@' || d.name, 'topic', d.inbound_topic,
      'route', r.route, 'tag', case r.route when 'exact' then null when 'base' then substr(wanted, length(i.local_part) + 2)
        else nullif(substr(wanted, nullif(position('+' in wanted), 0) + 1), '') end) into answer
    from domains d join tenants t on t.id = d.tenant_id and t.deleted_at is null
    join inboxes i on i.tenant_id = d.tenant_id and i.domain_id = d.id and i.deleted_at is null
    cross join lateral (select case when i.local_part = wanted then 'exact'
      when i.plus_addressing and i.local_part = any (array(select left(wanted, n - 1) from generate_series(2, length(wanted)) n
        where substr(wanted, n, 1) = '+')) then 'base'
      when i.is_catchall then 'catch-all' end as route) r
   where d.name = parts[2] and d.status = 'verified' and d.deleted_at is null and r.route is not null
     and (i.is_catchall or i.local_part = wanted or i.local_part = any (array(select left(wanted, n - 1) from generate_series(2, length(wanted)) n
        where substr(wanted, n, 1) = '+')))
   order by array_position(array['exact', 'base', 'catch-all'], r.route), length(i.local_part) desc limit 1;
  return answer;
end $$;

-- Whether some domain waits for mail from this topic.
create or replace function door.is_inbound_topic(topic text) returns boolean
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
  select exists (select 1 from domains d where d.inbound_topic = topic and d.deleted_at is null)
$$;

-- Those that nobody looked at for so long; marked, so that two who ask get different ones. Claims that came to nothing are left alone after a month.
create or replace function door.domains_to_check(most int, older interval) returns jsonb
language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
  with due as (
      select d.tenant_id, d.id from domains d
       where d.deleted_at is null and (d.checked_at is null or d.checked_at < now() - older)
         and (d.status <> 'pending' or d.created_at > now() - interval '30 days')
       order by d.checked_at nulls first limit most for update skip locked),
    marked as (update domains d set checked_at = now() from due where d.tenant_id = due.tenant_id and d.id = due.id returning d.tenant_id, d.id)
  select coalesce(jsonb_agg(jsonb_build_object('tenantId', m.tenant_id, 'id', m.id)), '[]') from marked m
$$;

call hand_over_doors();
