import { beforeAll, describe, expect, it } from 'vitest';
import { canonical, checkBallot } from './signature';
import type { Agent, Ballot } from './types';

describe('canonical JSON (RFC 8785)', () => {
  it('sorts members by code unit, and leaves lists as they are', () => {
    expect(canonical({ b: [2, 1], a: { d: null, c: true } })).toBe('{"a":{"c":true,"d":null},"b":[2,1]}');
    expect(canonical({ '\u20ac': 1, '\r': 2, '\ud83d\ude00': 3, '1': 4 })).toBe('{"\\r":2,"1":4,"\u20ac":1,"\ud83d\ude00":3}');
  });
  it('writes numbers and strings as ECMAScript does', () => {
    expect(canonical([333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, 0])).toBe('[333333333.3333333,1e+30,4.5,0.002,1e-27,0]');
    expect(canonical('\u20ac$\u000f\nA\'B"\\</script>')).toBe('"\u20ac$\\u000f\\nA\'B\\"\\\\</script>"');
  });
});

describe('a ballot', () => {
  let signed: Ballot;
  let keys: CryptoKeyPair;
  const base64 = (data: ArrayBuffer) => btoa(String.fromCharCode(...new Uint8Array(data)));
  const agent = (key: string) => ({ name: 'qa-1', public_key: key }) as Agent;

  beforeAll(async () => {
    keys = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
    const ballot: Ballot = {
      motion: 'm', round: 1, voter: 'qa-1', role: 'qa', subject: { kind: 'plan', id: 'p', hash: 'sha256:ab' },
      verdict: 'approve', reasons: ['é < ü'], public_key: base64(await crypto.subtle.exportKey('raw', keys.publicKey)),
    };
    const signature = await crypto.subtle.sign('Ed25519', keys.privateKey, new TextEncoder().encode(canonical(ballot)));
    signed = { ...ballot, signature: base64(signature) };
  });

  it('is ok when its voter signed it', async () => {
    expect((await checkBallot(signed, agent(signed.public_key))).state).toBe('ok');
  });
  it('is bad when a word of it was changed', async () => {
    expect((await checkBallot({ ...signed, verdict: 'reject' }, undefined)).state).toBe('bad');
    expect((await checkBallot({ ...signed, subject: { ...signed.subject, hash: 'sha256:cd' } }, undefined)).state).toBe('bad');
  });
  it('is bad when it is signed with another key than the voter’s, or not at all', async () => {
    expect((await checkBallot(signed, agent('another'))).state).toBe('bad');
    const { signature: _, ...bare } = signed;
    expect((await checkBallot(bare, undefined)).state).toBe('bad');
  });
  it('is bad when its key or its signature is malformed', async () => {
    for (const broken of ['AAAA', '?', '']) {
      expect((await checkBallot({ ...signed, public_key: broken }, undefined)).state).toBe('bad');
      expect((await checkBallot({ ...signed, signature: broken }, undefined)).state).toBe('bad');
    }
  });
});
