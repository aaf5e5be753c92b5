"""The project that `alchemy demo` writes: its files, and the program in two versions.

The second version is made from the first by taking things out and changing one, as somebody would by hand.
"""

from __future__ import annotations

PROJECT = """\
[tool.alchemy]
app = "lantern"
program = "alchemy_run.py"
"""
WORKER = """\
// Takes an order, remembers it, and leaves the slow part to the queue.
export default {
  async fetch(request, env) {
    const { results } = await env.DB.prepare("SELECT 1 AS up").all();
    if (env.ORDERS) await env.ORDERS.send({ at: Date.now() });
    return Response.json({ shop: env.SHOP, stage: env.STAGE, database: results[0].up === 1 });
  },
};
"""
IMAGES = """\
// Serves product pictures from the bucket.
export default {
  async fetch(request, env) {
    const picture = await env.PICTURES.get(new URL(request.url).pathname.slice(1));
    return picture ? new Response(picture.body) : new Response("no such picture", { status: 404 });
  },
};
"""
_PROGRAM = '''\
"""A shop that sells lanterns: two stages, each with a database, a store, and the workers that use them.

Version {version}. `alchemy deploy` makes it so. Change something, ask `alchemy plan`, and deploy again.
"""

from __future__ import annotations

import asyncio

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Worker, alchemy

STAGES = ("prod", "dev")  # apart from each other: their own resources, state, lock and backups


async def shop(stage: str) -> None:
    # A nested scope groups what belongs together, in the state and in the dashboard. A resource starts when it is
    # declared; it needs no `await` to be passed on.
    async with alchemy.run("database"):
        orders = D1Database("orders")
        sessions = KVNamespace("sessions"){analytics}

    async with alchemy.run("storage"):
        pictures = R2Bucket("pictures"){invoices}

    # Passing a resource to another one is the dependency: made before it, deleted after it.
    async with alchemy.run("compute"):{emails}
        todo = Queue("order-events")
        api = Worker(
            "api",
            entrypoint="src/api.js",
            bindings={{"DB": orders, "SESSIONS": sessions, "ORDERS": todo}},
            env={{"SHOP": "{name}", "STAGE": stage}},
        )
        if stage == "prod":  # a stage may hold what another one lacks
            Worker("images", entrypoint="src/images.js", bindings={{"PICTURES": pictures}})

    print(f"{{stage}}: {{(await api).url}}")  # an output in Python: this is what `await` is for


async def main() -> None:
    for stage in STAGES:
        # Leaving the stage deletes what an earlier version declared in it and this one does not, in the right order.
        async with alchemy("lantern", stage=stage):
            await shop(stage)


if __name__ == "__main__":
    asyncio.run(main())
'''
FIRST = _PROGRAM.format(
    version=1,
    name="Lantern",
    analytics='\n        D1Database("analytics")  # version 2 does without it',
    invoices='\n        R2Bucket("invoices")  # and without this one',
    emails='\n        Queue("emails")  # and this one',
)
SECOND = _PROGRAM.format(version=2, name="Lantern & Sons", analytics="", invoices="", emails="")

FILES = {
    "pyproject.toml": PROJECT,
    "src/api.js": WORKER,
    "src/images.js": IMAGES,
    ".gitignore": ".alchemy/\n",
}
NAME = "alchemy_run.py"
GONE = ("analytics", "invoices", "emails")  # what version 2 drops, for the summary
