import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { Metadata, Moment, pathId, text, webUrl, z } from "../lib/validate";
import { OUTSIDE_MEDIA } from "../providers/provider";
import {
  addIdentity,
  createContact,
  deleteContact,
  getContact,
  listContacts,
  removeIdentity,
  updateContact,
} from "./service";

export const contactRoutes = feature();

const Identity = z.strictObject({ medium: z.enum(OUTSIDE_MEDIA), value: text(320, 1) });
const Contact = z
  .object({
    id: z.uuid(),
    displayName: z.string().nullable(),
    avatarUrl: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()),
    identities: z.array(z.object({ medium: z.enum(OUTSIDE_MEDIA), value: z.string() })),
    createdAt: Moment,
    updatedAt: Moment,
  })
  .openapi("Contact");
const settings = {
  displayName: text(255, 1).nullable().optional(),
  avatarUrl: webUrl.nullable().optional(),
  metadata: Metadata.optional(),
};

const contacts = { tag: "Contacts", path: "/contacts" } as const;
const contact = { tag: "Contacts", path: "/contacts/{id}", params: pathId("contact") } as const;

contactRoutes.openapi(
  op({
    ...contacts,
    id: "createContact",
    method: "post",
    scope: "contacts:write",
    summary: "Create a contact",
    body: z.strictObject({ ...settings, identities: z.array(Identity).max(50).default([]) }),
    returns: Contact,
    status: 201,
  }),
  async (c) => c.json(await createContact(c.var.ctx, c.req.valid("json")), 201),
);
contactRoutes.openapi(
  op({
    ...contacts,
    id: "listContacts",
    method: "get",
    scope: "contacts:read",
    summary: "List contacts, newest first",
    query: z.strictObject({ ...PageQuery, medium: z.enum(OUTSIDE_MEDIA).optional(), value: text(320, 1).optional() }),
    returns: listOf(Contact),
  }),
  async (c) => c.json(await listContacts(c.var.ctx, c.req.valid("query")), 200),
);
contactRoutes.openapi(
  op({
    ...contact,
    id: "getContact",
    method: "get",
    scope: "contacts:read",
    summary: "Get a contact",
    returns: Contact,
  }),
  async (c) => c.json(await getContact(c.var.ctx, c.req.valid("param").id), 200),
);
contactRoutes.openapi(
  op({
    ...contact,
    id: "updateContact",
    method: "patch",
    scope: "contacts:write",
    summary: "Change a contact; metadata is merged",
    body: z.strictObject(settings),
    returns: Contact,
  }),
  async (c) => c.json(await updateContact(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 200),
);
contactRoutes.openapi(
  op({
    ...contact,
    id: "deleteContact",
    method: "delete",
    scope: "contacts:write",
    summary: "Delete a contact; what it wrote stays",
    status: 204,
  }),
  async (c) => {
    await deleteContact(c.var.ctx, c.req.valid("param").id);
    return c.body(null, 204);
  },
);
contactRoutes.openapi(
  op({
    ...contact,
    id: "addContactIdentity",
    method: "post",
    path: "/contacts/{id}/identities",
    scope: "contacts:write",
    summary: "Add an address, number or handle to a contact",
    body: Identity,
    returns: Contact,
    status: 201,
  }),
  async (c) => c.json(await addIdentity(c.var.ctx, c.req.valid("param").id, c.req.valid("json")), 201),
);
contactRoutes.openapi(
  op({
    ...contact,
    id: "removeContactIdentity",
    method: "delete",
    path: "/contacts/{id}/identities",
    scope: "contacts:write",
    summary: "Take an address, number or handle from a contact",
    query: Identity,
    status: 204,
  }),
  async (c) => {
    await removeIdentity(c.var.ctx, c.req.valid("param").id, c.req.valid("query"));
    return c.body(null, 204);
  },
);
