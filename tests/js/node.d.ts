// Of Node's test runner what the tests use, for `make check`.

declare module "node:test" {
  export function test(name: string, body: () => void | Promise<void>): void;
  export const mock: {
    timers: {
      enable(options: { apis: string[] }): void;
      tick(milliseconds: number): void;
      reset(): void;
    };
  };
}

declare module "node:assert/strict" {
  const assert: {
    ok(value: unknown, message?: string): asserts value;
    equal(actual: unknown, expected: unknown, message?: string): void;
    notEqual(actual: unknown, expected: unknown, message?: string): void;
    deepEqual(actual: unknown, expected: unknown, message?: string): void;
    match(text: string, pattern: RegExp): void;
    throws(run: () => unknown, pattern: RegExp): void;
    rejects(promise: Promise<unknown>, pattern: RegExp): Promise<void>;
  };
  export default assert;
}
