import { useComputedColorScheme } from '@mantine/core';
import { Controls, Handle, MarkerType, Position, ReactFlow, ReactFlowProvider, useReactFlow, useStore, type Edge, type Node, type NodeProps } from '@xyflow/react';
import { useEffect, useMemo, useRef, type RefObject } from 'react';
import { boxTitle, layout, nodeHeight, nodeWidth, type Layout } from '../graph';
import { look, StateIcon } from '../parts/state';
import { Duration } from '../parts/time';
import type { Step } from '../types';

type StepNode = Node<{ step: Step; open: (step: Step) => void }, 'step'>;

function StepBox({ data: { step, open } }: NodeProps<StepNode>) {
  return (
    <>
      <Handle type="target" position={Position.Top} isConnectable={false} />
      <button type="button" className={`step step-${step.state} nopan`} onClick={() => open(step)} aria-label={`${step.title}: ${look(step.state).label}`} title={step.title}>
        <StateIcon state={step.state} size={16} />
        <span className="step-text">
          <span className="step-title">{boxTitle(step)}</span>
          <span className="step-meta">
            {step.kind}
            {step.started && (
              <>
                {' · '}
                <Duration from={step.started} to={step.ended} />
              </>
            )}
            {step.attempt > 0 && ` · try ${step.attempt + 1}`}
          </span>
        </span>
      </button>
      <Handle type="source" position={Position.Bottom} isConnectable={false} />
    </>
  );
}

const nodeTypes = { step: StepBox };

export function Graph({ steps, open }: { steps: Step[]; open: (step: Step) => void }) {
  return (
    <ReactFlowProvider>
      <Flow steps={steps} open={open} />
    </ReactFlowProvider>
  );
}

function Flow({ steps, open }: { steps: Step[]; open: (step: Step) => void }) {
  const scheme = useComputedColorScheme('dark');
  const moved = useRef(false);
  // The layout depends on the shape alone, so that a step that only changed its state stays in place.
  const shape = steps.map((s) => `${s.key}<${(s.depends_on ?? []).join()}`).join(';');
  const placed = useMemo(() => layout(steps), [shape]);
  const { nodes, edges } = useMemo(() => {
    const byKey = new Map(steps.map((s) => [s.key, s]));
    const nodes: StepNode[] = placed.nodes.map(({ step, x, y }) => ({
      id: step.key,
      type: 'step',
      position: { x, y },
      width: nodeWidth,
      height: nodeHeight,
      data: { step: byKey.get(step.key) ?? step, open },
    }));
    const edges: Edge[] = placed.edges.map(({ from, to }) => {
      const source = byKey.get(from.key)?.state;
      const target = byKey.get(to.key)?.state;
      const tone = target === 'running' ? 'running' : source === 'done' ? 'done' : 'idle';
      return {
        id: `${from.key}>${to.key}`,
        source: from.key,
        target: to.key,
        animated: target === 'running',
        className: `edge-${tone}`,
        focusable: false,
        markerEnd: { type: MarkerType.ArrowClosed, width: 13, height: 13, color: `var(--edge-${tone})` },
      };
    });
    return { nodes, edges };
  }, [steps, placed, open]);

  return (
    <ReactFlow
      nodes={nodes}
      edges={edges}
      nodeTypes={nodeTypes}
      colorMode={scheme}
      nodesDraggable={false}
      nodesConnectable={false}
      nodesFocusable={false}
      edgesFocusable={false}
      elementsSelectable={false}
      zoomOnScroll={false}
      preventScrolling={false}
      onMoveStart={(event) => {
        if (event) moved.current = true;
      }}
      minZoom={0.2}
      maxZoom={1.4}
      proOptions={{ hideAttribution: true }}
    >
      <Follow steps={steps} placed={placed} moved={moved} />
      <Controls showInteractive={false} position="bottom-left" orientation="horizontal" />
    </ReactFlow>
  );
}

const margin = 12;
const smallest = 0.62; // below this, the words in a box can't be read

/** Fits the picture to its frame and keeps what runs in view, until the reader moves it. */
function Follow({ steps, placed, moved }: { steps: Step[]; placed: Layout; moved: RefObject<boolean> }) {
  const flow = useReactFlow();
  const first = useRef(true);
  const width = useStore((s) => s.width);
  const height = useStore((s) => s.height);
  const active = steps
    .filter((s) => s.state === 'running' || s.state === 'waiting')
    .map((s) => s.key)
    .join();
  useEffect(() => {
    if (moved.current || !width || !height || !placed.width) return;
    const zoom = Math.max(smallest, Math.min(1, (width - 2 * margin) / placed.width));
    const x = (width - placed.width * zoom) / 2;
    const spare = height - placed.height * zoom;
    let y = spare / 2;
    if (spare < 0) {
      const keys = active.split(',');
      const boxes = placed.nodes.filter((n) => keys.includes(n.step.key));
      const middle = boxes.reduce((sum, n) => sum + n.y + nodeHeight / 2, 0) / boxes.length;
      const last = steps.every((s) => s.state === 'done') ? placed.height : 0;
      y = Math.max(spare - margin, Math.min(margin, height / 2 - (boxes.length ? middle : last) * zoom));
    }
    void flow.setViewport({ x, y, zoom }, { duration: first.current ? 0 : 300 });
    first.current = false;
  }, [flow, width, height, placed, active, steps, moved]);
  return null;
}
