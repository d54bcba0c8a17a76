import { useComputedColorScheme } from '@mantine/core';
import { Controls, Handle, MarkerType, Position, ReactFlow, ReactFlowProvider, useReactFlow, type Edge, type Node, type NodeProps } from '@xyflow/react';
import { useEffect, useMemo, useRef } from 'react';
import { layout, nodeHeight, nodeWidth } from '../graph';
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
          <span className="step-title">{step.title}</span>
          <span className="step-meta">
            {step.kind}
            {step.started && (
              <>
                {' · '}
                <Duration from={step.started} to={step.ended} />
              </>
            )}
            {step.attempt > 1 && ` · try ${step.attempt}`}
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
      minZoom={0.2}
      maxZoom={1.4}
      proOptions={{ hideAttribution: true }}
    >
      <Follow steps={steps} shape={shape} />
      <Controls showInteractive={false} position="bottom-right" />
    </ReactFlow>
  );
}

/** Keeps what runs in view, until the reader moves the picture. */
function Follow({ steps, shape }: { steps: Step[]; shape: string }) {
  const flow = useReactFlow();
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = frame.current?.parentElement;
    if (!element) return;
    const fit = () => void flow.fitView({ padding: 0.04, minZoom: 0.62, maxZoom: 1.1 });
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    return () => observer.disconnect();
  }, [flow, shape]);
  const active = steps
    .filter((s) => s.state === 'running' || s.state === 'waiting')
    .map((s) => s.key)
    .join();
  useEffect(() => {
    if (!active) return;
    const element = frame.current?.parentElement;
    const bounds = flow.getNodesBounds(active.split(','));
    const { x, y, zoom } = flow.getViewport();
    if (!element || !bounds.width) return;
    const top = bounds.y * zoom + y;
    const bottom = (bounds.y + bounds.height) * zoom + y;
    if (top >= 0 && bottom <= element.clientHeight) return;
    void flow.setViewport({ x, y: element.clientHeight / 2 - (bounds.y + bounds.height / 2) * zoom, zoom }, { duration: 400 });
  }, [flow, active]);
  return <div ref={frame} hidden />;
}
