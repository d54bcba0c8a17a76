import { useEffect, useRef, type RefObject } from 'react';

/** Scrolls a strip that is wider than the screen sideways, so that the item it is about is in view. */
export function useStrip<T extends HTMLElement = HTMLDivElement>(about: unknown, selector: string): RefObject<T | null> {
  const strip = useRef<T>(null);
  useEffect(() => {
    const item = strip.current?.querySelector<HTMLElement>(selector);
    if (!strip.current || !item) return;
    strip.current.scrollLeft = item.offsetLeft - (strip.current.clientWidth - item.offsetWidth) / 2;
  }, [about, selector]);
  return strip;
}
