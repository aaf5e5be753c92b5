// Miniflare's R2, which is the code of Cloudflare's own runtime, behind as much of S3 as the store needs.
// Prints where it is as one line of JSON; ends with its input. Signatures are not looked at: R2's bindings have none.

import { Miniflare } from "miniflare";

const worker = `
const escape = (text) => text.replace(/[<>&'"]/g, (sign) => "&#" + sign.charCodeAt(0) + ";");
const refusal = (status, code) => new Response("<Error><Code>" + code + "</Code></Error>", { status });

async function list(bucket, asked) {
  const page = await bucket.list({
    prefix: asked.get("prefix") ?? undefined,
    delimiter: asked.get("delimiter") ?? undefined,
    startAfter: asked.get("continuation-token") ? undefined : asked.get("start-after") ?? undefined,
    cursor: asked.get("continuation-token") ?? undefined,
    limit: 5, // few, so that there are pages
  });
  const objects = page.objects.map((object) =>
    "<Contents><Key>" + escape(object.key) + "</Key><LastModified>" + object.uploaded.toISOString() +
    "</LastModified><ETag>" + escape(object.httpEtag) + "</ETag><Size>" + object.size + "</Size></Contents>");
  const folders = page.delimitedPrefixes.map((prefix) =>
    "<CommonPrefixes><Prefix>" + escape(prefix) + "</Prefix></CommonPrefixes>");
  const more = page.truncated
    ? "<NextContinuationToken>" + escape(page.cursor) + "</NextContinuationToken>" : "";
  return new Response("<ListBucketResult><IsTruncated>" + page.truncated + "</IsTruncated>" + more +
    objects.join("") + folders.join("") + "</ListBucketResult>");
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const [, , ...parts] = url.pathname.split("/");
    const key = decodeURIComponent(parts.join("/"));
    if (!key) return list(env.STATE, url.searchParams);
    if (request.method === "PUT") {
      const stored = await env.STATE.put(key, await request.arrayBuffer(), { onlyIf: request.headers });
      return stored ? new Response(null, { headers: { ETag: stored.httpEtag } }) : refusal(412, "PreconditionFailed");
    }
    if (request.method === "DELETE") {
      await env.STATE.delete(key);
      return new Response(null, { status: 204 });
    }
    const found = await env.STATE.get(key);
    if (!found) return refusal(404, "NoSuchKey");
    const headers = { ETag: found.httpEtag, "Last-Modified": found.uploaded.toUTCString() };
    return new Response(await found.arrayBuffer(), { headers });
  },
};
`;

const miniflare = new Miniflare({
  modules: true,
  script: worker,
  compatibilityDate: "2026-04-01",
  r2Buckets: { STATE: "state" },
  host: "127.0.0.1",
  port: 0,
});
const endpoint = (await miniflare.ready).origin;
console.log(JSON.stringify({ endpoint }));
process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
