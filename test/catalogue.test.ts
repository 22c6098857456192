import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DOOR, functionViolations, roleViolations, violations } from "./catalogue";
import { rightsOfDoors, usesOfDoors } from "./doors";
import { tenantTables } from "./rows";
import { asOwner } from "./setup/owner";

/** What each door does to which tables. Whoever adds a door adds it here, and has it looked at. */
const DOORS: Record<string, string[]> = {
  block_lists: ["SELECT block_list_entries", "SELECT block_lists", "SELECT tenants"],
  claim_deliveries: [
    "SELECT events",
    "SELECT webhook_deliveries",
    "SELECT webhook_health",
    "SELECT webhooks",
    "UPDATE webhook_deliveries",
    "UPDATE webhook_health",
  ],
  claim_due_jobs: ["SELECT scheduled_jobs", "SELECT tenants", "UPDATE scheduled_jobs"],
  claim_inbound: ["SELECT domains", "SELECT inbound_raw", "SELECT inboxes", "UPDATE inbound_raw"],
  claim_jobs: ["SELECT scheduled_jobs", "SELECT tenants", "UPDATE scheduled_jobs"],
  claim_outbound: [
    "SELECT deliveries",
    "SELECT integrations",
    "SELECT suppressions",
    "SELECT tenants",
    "UPDATE deliveries",
  ],
  claim_unused_files: ["SELECT files", "SELECT held_files", "SELECT message_attachments", "UPDATE files"],
  domains_to_check: ["SELECT domains", "UPDATE domains"],
  due_deliveries: ["SELECT webhook_deliveries"],
  live_places: ["DELETE live_sockets", "SELECT events", "SELECT live_sockets", "SELECT streams"],
  due_pushes: ["DELETE push_tasks", "SELECT push_tasks", "SELECT tenants", "UPDATE push_tasks"],
  enter: [
    "SELECT api_keys",
    "SELECT auth_keys",
    "SELECT bans",
    "SELECT revoked_tokens",
    "SELECT tenants",
    "SELECT users",
  ],
  enter_many: [],
  expired_raws: ["SELECT inbound_raw", "SELECT outbound_raw"],
  find_inbox: ["SELECT domains", "SELECT inboxes", "SELECT tenants"],
  find_key: ["SELECT api_key_addresses", "SELECT api_key_resources", "SELECT api_key_scopes", "SELECT api_keys"],
  followers: ["SELECT webhook_deliveries"],
  forget_raws: ["DELETE inbound_raw", "DELETE outbound_raw", "SELECT inbound_raw", "SELECT outbound_raw"],
  forget_unused_files: ["DELETE files", "SELECT files"],
  is_inbound_topic: ["SELECT domains"],
  jobs_due_within: ["SELECT scheduled_jobs", "SELECT tenants"],
  live_secrets: ["SELECT webhook_secrets"],
  open_uploads: ["SELECT files", "SELECT tenants"],
  record_attempts: [
    "INSERT webhook_attempts",
    "INSERT webhook_health",
    "SELECT webhook_deliveries",
    "SELECT webhook_health",
    "UPDATE webhook_deliveries",
    "UPDATE webhook_health",
  ],
  release_deliveries: ["SELECT webhook_deliveries", "UPDATE webhook_deliveries"],
  remove_expired: [
    "DELETE audit_logs",
    "DELETE bounces",
    "DELETE channels",
    "DELETE events",
    "DELETE idempotency_keys",
    "DELETE provider_callbacks",
    "DELETE revoked_tokens",
    "DELETE scheduled_jobs",
    "DELETE socket_tickets",
    "DELETE suppressions",
    "DELETE webhook_attempts",
    "DELETE webhook_secrets",
    "SELECT audit_logs",
    "SELECT bounces",
    "SELECT channels",
    "SELECT events",
    "SELECT idempotency_keys",
    "SELECT plans",
    "SELECT provider_callbacks",
    "SELECT revoked_tokens",
    "SELECT scheduled_jobs",
    "SELECT socket_tickets",
    "SELECT suppressions",
    "SELECT tenants",
    "SELECT webhook_attempts",
    "SELECT webhook_deliveries",
    "SELECT webhook_secrets",
    "SELECT webhooks",
  ],
  reseal: ["SELECT integrations", "SELECT webhook_secrets", "UPDATE integrations", "UPDATE webhook_secrets"],
  sealed_under: ["SELECT integrations", "SELECT webhook_secrets"],
  expired_messages: ["SELECT messages", "SELECT tenants"],
  find_users: ["SELECT users"],
  search_messages: [
    "SELECT bans",
    "SELECT channel_members",
    "SELECT channel_types",
    "SELECT channels",
    "SELECT inbox_members",
    "SELECT inboxes",
    "SELECT message_attachments",
    "SELECT messages",
    "SELECT team_members",
    "SELECT users",
  ],
  users_with_email: ["SELECT users"],
  tenant_snapshot: [
    "SELECT auth_key_scopes",
    "SELECT auth_keys",
    "SELECT channel_types",
    "SELECT integrations",
    "SELECT plans",
    "SELECT tenants",
    "SELECT webhook_event_types",
    "SELECT webhook_health",
    "SELECT webhook_scopes",
    "SELECT webhook_subscriptions",
    "SELECT webhooks",
  ],
};

/** What the triggers do that run with the rights of these doors. */
const TRIGGERS = ["SELECT usage_totals", "UPDATE usage_totals", "UPDATE tenants"];

/** Written from the catalogue, for the tenant under removal: to that one alone their policies hold them. */
const REMOVAL = ["count_tenant_rows", "remove_tenant", "remove_tenant_rows"];

it("each table has its wall, keys that stay inside the tenant, and checked values", async () => {
  expect(await violations("public")).toEqual([]);
});

it("the Worker's role can neither pass the wall nor make anything", async () => {
  expect(await roleViolations()).toEqual([]);
});

it("each door belongs to the doors' role, pins its search path and opens to the Worker alone", async () => {
  expect(await functionViolations("door")).toEqual([]);
});

it("each door touches the tables it is known to touch", async () => {
  const { count_tenant_rows, remove_tenant, remove_tenant_rows, ...others } = await usesOfDoors();
  const tables = (await tenantTables()).map(({ name }) => name);
  const on = (privilege: string) => tables.map((table) => `${privilege} ${table}`);

  expect(others).toEqual(DOORS);
  expect(count_tenant_rows).toEqual([...on("SELECT"), "SELECT tenants"].sort());
  expect(remove_tenant_rows).toEqual([...on("DELETE"), ...on("SELECT"), "SELECT tenants"].sort());
  expect(remove_tenant).toEqual(["DELETE tenants", "SELECT tenants"]);
});

it("the doors' role may do what its doors do, and nothing else", async () => {
  const uses = Object.entries(await usesOfDoors());
  const ofAll = [...uses.filter(([door]) => !REMOVAL.includes(door)).flatMap(([, use]) => use), ...TRIGGERS];
  const unique = (list: string[]) => [...new Set(list)].sort();

  const { grants, policies } = await rightsOfDoors(DOOR);

  expect(policies).toEqual(unique(ofAll));
  expect(grants).toEqual(unique([...ofAll, ...uses.flatMap(([, use]) => use)]));
});

const CARELESS = [
  "drop schema if exists careless cascade",
  "create schema careless",
  "create table careless.bare (id uuid primary key, tenant_id uuid)",
  "create table careless.folders (tenant_id uuid not null, id uuid not null, unique (id), primary key (tenant_id, id))",
  `create table careless.notes (tenant_id uuid not null references careless.bare on delete cascade, id uuid primary key,
     folder_id uuid references careless.folders (id) on delete cascade, parent_id uuid, next_id uuid, status text not null, kind text,
     unique (tenant_id, id),
     foreign key (tenant_id, parent_id) references careless.notes (tenant_id, id) on delete set null,
     foreign key (tenant_id, next_id) references careless.notes (tenant_id, id),
     constraint kind check (kind in ('a', 'b')))`,
  "create index on careless.notes (tenant_id, next_id) where status = 'open'",
  "create policy wall on careless.notes using (true)",
  "create view careless.seen as select * from careless.notes",
  `create function careless.open(n uuid) returns void language plpgsql security definer as $$
   begin
     insert into users as u (tenant_id, id) values (n, n) on conflict (tenant_id, id) do update set bio = 'from teams';
     perform 1 from tenants t join plans p on p.id = t.plan_id where t.id = n for no key update of t skip locked;
     delete from teams where id = n; -- from events
     perform refuse_over_limit('users', 1);
     update files set id = n;
   end $$`,
  `create function careless.hidden() returns void language plpgsql as $$ begin execute 'select 1'; end $$`,
];

describe("a check that can fail", () => {
  beforeAll(async () => {
    for (const statement of CARELESS) await asOwner(statement);
  });
  afterAll(() => asOwner("drop schema careless cascade"));

  it("a table made without care is found", async () => {
    const found = await violations("careless");

    for (const table of ["bare", "folders", "notes"]) {
      expect(found).toContain(`${table}: row-level security is not enabled and forced`);
      expect(found).toContainEqual(expect.stringMatching(`^${table}: lacks the policy wall .* using \\(tenant_id = `));
      expect(found).toContainEqual(expect.stringMatching(`^${table}: lacks the policy keeper `));
    }
    expect(found).toContain("bare: there is no tenant_id that is not null");
    expect(found).toContain("notes: has the policy wall public ALL using true");
    expect(found).toContain("careless.notes.status has no CHECK of its values");
    expect(found).not.toContain("careless.notes.kind has no CHECK of its values");
    expect(found).toContain("seen is a view");
    const keys = found.filter((text) => text.includes("FOREIGN KEY"));
    expect(
      keys.map((text) =>
        text.replace(/.*FOREIGN KEY \((.*?)\).*?(?: ON DELETE .*?)?( does| leads| has| states| would)/, "$1$2"),
      ),
    ).toEqual([
      "folder_id does not lead with tenant_id",
      "folder_id has no index on its columns",
      "tenant_id does not lead with tenant_id",
      "tenant_id, next_id has no index on its columns",
      "tenant_id, next_id states no ON DELETE",
      "tenant_id, parent_id has no index on its columns",
      "tenant_id, parent_id would unset tenant_id",
    ]);
  });

  it("a door made without care is found", async () => {
    expect(await functionViolations("careless")).toEqual([
      expect.stringContaining("careless.hidden() belongs to"),
      "careless.hidden() does not pin its search_path",
      "careless.hidden() is no SECURITY DEFINER",
      "careless.hidden() may be called by others",
      expect.stringContaining("careless.open(uuid) belongs to"),
      "careless.open(uuid) does not pin its search_path",
      "careless.open(uuid) may be called by others",
    ]);
    await expect(usesOfDoors("careless")).rejects.toThrow("hidden runs SQL made at run time");
    await asOwner("drop function careless.hidden()");
    expect(await usesOfDoors("careless")).toEqual({
      open: [
        "DELETE teams",
        "INSERT users",
        "SELECT files",
        "SELECT plans",
        "SELECT teams",
        "SELECT tenants",
        "SELECT usage_totals",
        "SELECT users",
        "UPDATE files",
        "UPDATE tenants",
        "UPDATE users",
      ],
    });
  });
});
