import { expect, inject, it } from "vitest";
import { admin, newTenant } from "../helpers";
import "../setup/provided";

const newPlan = async (limits: object): Promise<string> =>
  (await (await admin()).post("/v1/plans", { name: crypto.randomUUID(), tier: "pro", limits })).body.id;

it.runIf(inject("realPostgres"))(
  "50 concurrent creations at a limit of 10 leave exactly 10, from the very first one on",
  async () => {
    const tenant = await newTenant({ planId: await newPlan({ users: 10, teams: 10 }) });

    const kinds = [
      { path: "/v1/users", body: {}, list: "/v1/users?limit=100" },
      { path: "/v1/teams", body: { name: "Team" }, list: "/v1/teams?limit=100" },
    ];
    for (const { path, body, list } of kinds) {
      const statuses = (await Promise.all(Array.from({ length: 50 }, () => tenant.post(path, body)))).map(
        ({ status }) => status,
      );

      expect(statuses.filter((status) => status === 201)).toHaveLength(10);
      expect(statuses.filter((status) => status === 402)).toHaveLength(40);
      expect((await tenant.get(list)).body.data).toHaveLength(10);
    }
  },
);

it.runIf(inject("realPostgres"))(
  "concurrent bulk upserts of the same users in any order neither deadlock nor double nor miscount",
  async () => {
    const tenant = await newTenant({ planId: await newPlan({ users: 1000 }) });
    const externalIds = Array.from({ length: 60 }, (_, n) => `u-${n}`);
    const shuffled = () =>
      externalIds
        .map((id) => ({ id, at: Math.random() }))
        .sort((a, b) => a.at - b.at)
        .map(({ id }) => id);

    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        tenant.post("/v1/users/bulk", {
          users: [...shuffled().map((externalId) => ({ externalId, bio: `${n}` })), {}],
        }),
      ),
    );

    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const [users] = (await tenant.get("/v1/tenant/limits")).body.data;
    expect(users).toMatchObject({ metric: "users", use: 80 });
  },
);
