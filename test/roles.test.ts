import { expect, it } from "vitest";
import { ROLES, rolesWith, SCOPES } from "../src/lib/scopes";
import { expectProblem, newTenant, newUser, userClient } from "./helpers";

const VIEWER = [
  ...["campaigns:read", "channels:read", "contacts:read", "events:read", "files:read", "inboxes:read", "jobs:read"],
  ...["me:read", "me:write", "moderation:read", "suppressions:read", "tenant:read", "users:read"],
];
const EDITOR = [
  ...["channels:write", "contacts:write", "events:write", "files:write", "jobs:write", "moderation:write"],
  ...["suppressions:write", "users:write"],
];
const ADMIN = [
  ...["audit:read", "campaigns:write", "exports:write", "inbound:write", "inboxes:write", "integrations:read"],
  ...["integrations:write", "keys:read", "keys:write", "tenant:write", "tokens:write", "usage:read"],
  ...["webhooks:read", "webhooks:write"],
];

it("what each role brings is written down here: a change of it is a change for every tenant", () => {
  const of = (role: string) => SCOPES.filter((scope) => rolesWith(scope).includes(role)).sort();

  expect(Object.fromEntries(ROLES.map((role) => [role, of(role)]))).toEqual({
    viewer: VIEWER,
    editor: [...VIEWER, ...EDITOR].sort(),
    admin: [...VIEWER, ...EDITOR, ...ADMIN].sort(),
  });
});

it("a viewer reads, an editor writes, an admin manages, and none of them what is above", async () => {
  const tenant = await newTenant();
  const of = async (role: string) => userClient(tenant, (await newUser(tenant, { role })).id);
  const [viewer, editor, manager] = [await of("viewer"), await of("editor"), await of("admin")];

  for (const one of [viewer, editor, manager]) expect((await one.get("/v1/contacts")).status).toBe(200);
  expectProblem(await viewer.post("/v1/contacts", { displayName: "Ann" }), 403, "missing_scope");
  for (const one of [editor, manager])
    expect((await one.post("/v1/contacts", { displayName: "Ann" })).status).toBe(201);
  for (const one of [viewer, editor]) expectProblem(await one.get("/v1/webhooks"), 403, "missing_scope");
  expect((await manager.get("/v1/webhooks")).status).toBe(200);
});
