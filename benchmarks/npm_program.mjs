// What is measured of the npm package: BENCH_N resources that do nothing, one by one or all at once.
import alchemy, { Resource } from "alchemy";

const Item = Resource("bench::Item", async function (id, props) {
  return this.phase === "delete" ? this.destroy() : { ...props, itemId: `local-${id}` };
});

const { BENCH_N, BENCH_MODE, BENCH_DROP } = process.env;
const oneByOne = BENCH_MODE === "sequential";
const app = await alchemy("bench", { stage: "bench", destroyStrategy: oneByOne ? "sequential" : "parallel", quiet: true });
const numbers = [...Array(Number(BENCH_N)).keys()].filter((number) => !(BENCH_DROP && number % 10 === 9));
const declare = (number) =>
  Item(`r${number}`, {
    title: `item-${number}`,
    region: "eu-west",
    size: 3 + (number % 7),
    enabled: number % 2 === 0,
    tags: "a,b,c",
    note: "x".repeat(40),
  });
if (oneByOne) for (const number of numbers) await declare(number);
else await Promise.all(numbers.map(declare));
await app.finalize();
