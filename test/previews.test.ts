import { expect, it } from "vitest";
import { expectProblem, newTenant } from "./helpers";
import { newReceiver } from "./receiver";

const html = (body: string) => ({ headers: { "Content-Type": "text/html" }, body });

it("a page is shown by what it says of itself, and nothing inside is asked", async () => {
  const tenant = await newTenant();
  const receiver = newReceiver();
  const preview = (url: string) => tenant.get(`/v1/link-preview?url=${encodeURIComponent(url)}`);

  await receiver.answers(
    html(`<html><head><title>Plain</title><meta property="og:title" content="Fish &amp; chips">
      <meta name="description" content="  All   of it "><meta property="og:image" content="/a.png"></head></html>`),
  );
  const shown = await preview(receiver.url);
  expect(shown.body).toEqual({
    url: receiver.url,
    title: "Fish & chips",
    description: "All of it",
    imageUrl: new URL("/a.png", receiver.url).href,
    siteName: null,
  });

  await receiver.answers({ headers: { "Content-Type": "image/png" }, body: "x" });
  expectProblem(await preview(receiver.url), 422, "invalid_request", "query.url");
  await receiver.answers({ status: 302, headers: { Location: "http://169.254.169.254/latest/meta-data" }, body: "" });
  expectProblem(await preview(receiver.url), 422, "invalid_request", "query.url");
  for (const url of ["http://10.0.0.1/", "https://metadata.goog/", "file:///etc/passwd"])
    expectProblem(await preview(url), 422, "invalid_request", "query.url");
});
