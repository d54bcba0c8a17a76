import { Button } from '@mantine/core';
import { Command, Empty } from '../parts/panel';

export function SignIn() {
  return (
    <main className="signin">
      <Empty title="This page opens by a one-time link">
        <p>Run this where Conclave runs; it opens the page, signed in for twelve hours:</p>
        <Command text="conclave watch --open" />
        <p>
          <code>conclave status</code> prints the link to open by hand.
        </p>
        <Button variant="light" onClick={() => window.location.reload()}>
          Try again
        </Button>
      </Empty>
    </main>
  );
}
