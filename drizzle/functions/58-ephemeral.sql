-- Of these endpoints { id, scopes } those that hear of this channel and do not rest, within their own pace, with what signs for them.
drop function if exists public.endpoints_to_call(jsonb);
create or replace function public.endpoints_to_call(hooks jsonb, chan uuid) returns table (id uuid, secrets jsonb) language sql volatile as $$
  with ready as (select w.id, w.per_second from webhooks w
      left join webhook_health h on h.tenant_id = w.tenant_id and h.webhook_id = w.id
     where w.tenant_id = current_tenant() and w.id in (select (x ->> 'id')::uuid from jsonb_array_elements(hooks) x where not x ? 'scopes'
       or in_scopes(x -> 'scopes', (select c from channels c where c.tenant_id = current_tenant() and c.id = chan)))
       and (h.paused_until is null or h.paused_until <= now())),
    counted as (update webhook_health h set window_at = date_trunc('second', now()),
        window_used = case when h.window_at = date_trunc('second', now()) then h.window_used else 0 end + 1
      from ready r where h.tenant_id = current_tenant() and h.webhook_id = r.id and r.per_second is not null
        and (h.window_at is distinct from date_trunc('second', now()) or h.window_used < r.per_second)
      returning h.webhook_id)
  select r.id, door.live_secrets(current_tenant(), r.id) from ready r
   where r.per_second is null or r.id in (select webhook_id from counted)
$$;
