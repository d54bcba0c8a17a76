// Checks signatures in the browser, so that "signed" is not the server's word.
import type { Agent, Ballot, Decision } from './types';

export type Signed = { state: 'checking' | 'ok' | 'bad' | 'unchecked'; why: string };

/** Canonical JSON (RFC 8785), whose number and string forms are ECMAScript's own. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const object = value as Record<string, unknown>;
    const members = Object.keys(object)
      .filter((key) => object[key] !== undefined)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${canonical(object[key])}`);
    return `{${members.join(',')}}`;
  }
  return JSON.stringify(value);
}

function bytes(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch {
    return undefined;
  }
}

async function verify(signed: Ballot | Decision): Promise<Signed> {
  const { signature, ...rest } = signed;
  if (!signature) return { state: 'bad', why: 'not signed' };
  const publicKey = bytes(rest.public_key);
  const mark = bytes(signature);
  if (publicKey?.length !== 32 || mark?.length !== 64) return { state: 'bad', why: 'the key or the signature is malformed' };
  if (!globalThis.crypto?.subtle) return { state: 'unchecked', why: 'the browser checks signatures only on localhost or over HTTPS' };
  let key: CryptoKey;
  try {
    key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify']);
  } catch {
    return { state: 'unchecked', why: 'this browser does not know Ed25519' };
  }
  const text = new TextEncoder().encode(canonical(rest));
  const ok = await crypto.subtle.verify({ name: 'Ed25519' }, key, mark, text);
  return ok ? { state: 'ok', why: 'signature checked in this browser' } : { state: 'bad', why: 'the signature does not fit what it signs' };
}

/** Checks a ballot's signature, and that its key is the one its voter registered. */
export async function checkBallot(ballot: Ballot, voter: Agent | undefined): Promise<Signed> {
  if (voter && voter.public_key !== ballot.public_key) return { state: 'bad', why: `signed with a key that ${ballot.voter} did not register` };
  const result = await verify(ballot);
  if (result.state === 'ok' && !voter) return { state: 'ok', why: 'signature checked in this browser; the voter is no longer registered' };
  return result;
}

export function checkDecision(decision: Decision): Promise<Signed> {
  return verify(decision);
}
