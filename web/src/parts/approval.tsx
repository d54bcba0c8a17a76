import { Alert, Button, Group, Modal, Radio, Textarea } from '@mantine/core';
import { IconHandStop } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { decide, list, session } from '../api';
import type { Approval, Approve } from '../types';
import { State } from './state';
import { Ago } from './time';

export function useApprovals() {
  return useQuery({ queryKey: ['approvals'], queryFn: () => list<Approval>('/approvals?state=all') });
}

export function useSession() {
  return useQuery({ queryKey: ['session'], queryFn: session, staleTime: 60_000 });
}

export function ApprovalCard({ approval, runLink }: { approval: Approval; runLink?: ReactNode }) {
  const [asking, ask] = useState<'approve' | 'reject'>();
  const { data: caller } = useSession();
  const may = caller?.permissions?.includes('approve') ?? false;
  return (
    <article className={approval.decision ? 'approval decided' : 'approval'} data-approval={approval.id}>
      <IconHandStop size={22} className={approval.decision ? 'dim' : 'tone-waiting'} aria-hidden />
      <div className="approval-main">
        <h3>{approval.title}</h3>
        <p className="approval-detail">{approval.detail}</p>
        <p className="chips small dim">
          <span>{approval.kind}</span>
          <span>
            asked <Ago at={approval.asked} />
          </span>
          {runLink}
        </p>
        {approval.decision && (
          <p className="chips small">
            <State state={approval.decision} label={approval.option ?? (approval.decision === 'approve' ? 'approved' : 'rejected')} />
            <span className="dim">
              by {approval.by}
              {approval.decided && (
                <>
                  , <Ago at={approval.decided} />
                </>
              )}
              {approval.reason && `: ${approval.reason}`}
            </span>
          </p>
        )}
      </div>
      {!approval.decision && (
        <Group gap="xs" className="approval-buttons">
          <Button color="teal" onClick={() => ask('approve')} disabled={!may} title={may ? undefined : 'Your token lacks the permission "approve"'}>
            {approval.options?.length ? 'Choose' : 'Approve'}
          </Button>
          {!approval.options?.length && (
            <Button color="red" variant="outline" onClick={() => ask('reject')} disabled={!may} title={may ? undefined : 'Your token lacks the permission "approve"'}>
              Reject
            </Button>
          )}
        </Group>
      )}
      <Confirm approval={approval} decision={asking} close={() => ask(undefined)} />
    </article>
  );
}

function Confirm({ approval, decision, close }: { approval: Approval; decision: 'approve' | 'reject' | undefined; close: () => void }) {
  const cache = useQueryClient();
  const [reason, setReason] = useState('');
  const [option, setOption] = useState('');
  const options = approval.options ?? [];
  const send = useMutation({
    mutationFn: (input: Approve) => decide(input),
    onSuccess: () => {
      close();
      void cache.invalidateQueries({ queryKey: ['approvals'] });
      void cache.invalidateQueries({ queryKey: ['run', approval.run] });
      void cache.invalidateQueries({ queryKey: ['runs'] });
    },
  });
  const yes = decision === 'approve';
  const submit = () => {
    if (!decision) return;
    // The same decision keeps its key, so that a second click can't count twice.
    send.mutate({ idempotency_key: `page:${approval.id}:${decision}:${option}`, id: approval.id, decision, ...(option ? { option } : {}), ...(reason.trim() ? { reason: reason.trim() } : {}) });
  };
  return (
    <Modal opened={decision !== undefined} onClose={close} title={options.length ? 'Which one?' : yes ? 'Approve this?' : 'Reject this?'} centered lockScroll={false} closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          submit();
        }}
      >
        <strong>{approval.title}</strong>
        <p className="approval-detail">{approval.detail}</p>
        {options.length > 0 && (
          <Radio.Group label="Option" value={option} onChange={setOption} required>
            {options.map((o) => (
              <Radio key={o} value={o} label={o} />
            ))}
          </Radio.Group>
        )}
        <Textarea label="Reason" description="Kept with the decision; may be empty" value={reason} onChange={(e) => setReason(e.currentTarget.value)} autosize minRows={2} maxLength={2000} data-autofocus />
        {send.error && (
          <Alert color="red" title="Not decided">
            {send.error.message}
          </Alert>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>
            Go back
          </Button>
          <Button type="submit" color={yes ? 'teal' : 'red'} loading={send.isPending} disabled={options.length > 0 && !option}>
            {options.length ? 'Take it' : yes ? 'Yes, approve' : 'Yes, reject'}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
