import { Button } from '@mantine/core';
import { Command, Empty } from '../parts/panel';

export function SignIn() {
  return (
    <main className="signin">
      <Empty title="This page opens by a one-time link">
        <p>Run this where Conclave runs. It prints a link that opens the page once and signs you in for twelve hours:</p>
        <Command text="conclave watch --open" />
        <Button variant="light" onClick={() => window.location.reload()}>
          Try again
        </Button>
      </Empty>
    </main>
  );
}
