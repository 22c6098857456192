import { expect, inject, it } from "vitest";
import { newTenant, newUser } from "../helpers";
import "../setup/provided";

it.runIf(inject("realPostgres"))(
  "50 who create the same distinct channel at once get one, with its members once",
  async () => {
    const tenant = await newTenant();
    const users = await Promise.all(Array.from({ length: 3 }, () => newUser(tenant)));
    const members = users.map(({ id }) => ({ userId: id }));

    const made = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        tenant.post("/v1/channels", { distinct: true, members: n % 2 ? members : members.toReversed() }),
      ),
    );

    expect(made.map(({ status }) => status)).toEqual(made.map(() => 201));
    expect(new Set(made.map(({ body }) => body.id)).size).toBe(1);
    expect((await tenant.get(`/v1/channels/${made[0]!.body.id}/members`)).body.data).toHaveLength(3);
    expect((await tenant.get("/v1/channels")).body.data).toHaveLength(1);
  },
);
