import { feature, op } from "../lib/route";
import { webUrl, z } from "../lib/validate";
import { previewLink } from "./previews";

export const previewRoutes = feature();

previewRoutes.openapi(
  op({
    tag: "Messages",
    path: "/link-preview",
    id: "previewLink",
    method: "get",
    scope: "channels:read",
    summary: "What a page says of itself, to be shown beside its link",
    query: z.strictObject({ url: webUrl }),
    returns: z
      .object({
        url: z.url(),
        title: z.string().nullable(),
        description: z.string().nullable(),
        imageUrl: z.url().nullable(),
        siteName: z.string().nullable(),
      })
      .openapi("LinkPreview"),
  }),
  async (c) => c.json(await previewLink(c.var.ctx, c.req.valid("query").url), 200),
);
