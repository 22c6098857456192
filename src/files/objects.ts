import { servedAs } from "./types";

export type Described = { name: string; contentType: string };

/** A tenant's objects lie together, so that they can be removed together. */
export const objectKey = (tenantId: string, id: string): string => `${tenantId}/${id}`;

/**
 * Kept with the object, so that a signed link needs no database. The type that the bucket itself knows is the safe one:
 * should it ever be opened to the public, it would still run nothing.
 */
export const described = ({ name, contentType }: Described) => ({
  httpMetadata: { contentType: servedAs(contentType, "attachment").type },
  customMetadata: { name, type: contentType },
});

export const descriptionOf = ({ customMetadata }: R2Object): Described => ({
  name: customMetadata?.name ?? "file",
  contentType: customMetadata?.type ?? "",
});
