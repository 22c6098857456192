import { listOf, PageQuery } from "../lib/page";
import { feature, op } from "../lib/route";
import { flag, Instant, idOf, text, z } from "../lib/validate";
import { Message } from "./input";
import { searchMessages } from "./search";

export const searchRoutes = feature();

const Hit = z
  .object({
    message: Message,
    highlight: z.array(z.object({ text: z.string(), hit: z.boolean() })),
  })
  .openapi("SearchHit");

searchRoutes.openapi(
  op({
    tag: "Messages",
    path: "/search/messages",
    id: "searchMessages",
    method: "get",
    scope: "channels:read",
    summary: "Search the messages of your channels, or of one that you see; newest first",
    description:
      'As on the web: `two words`, `"a phrase"`, `this or that`, `-without`. A server searches all channels.',
    query: z.strictObject({
      ...PageQuery,
      q: text(500, 1),
      channelId: idOf("channel").optional(),
      userId: idOf("user").optional(),
      from: Instant.optional(),
      to: Instant.optional(),
      hasAttachments: flag.optional(),
    }),
    returns: listOf(Hit),
  }),
  async (c) => c.json(await searchMessages(c.var.ctx, c.req.valid("query")), 200),
);
