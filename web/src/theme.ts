import { createTheme, type MantineColorsTuple } from '@mantine/core';

const council: MantineColorsTuple = ['#eef0ff', '#dcdffb', '#b8bef5', '#929bf0', '#727cec', '#5d69ea', '#515eea', '#424fd0', '#3946bb', '#2d3ba5'];
const dark: MantineColorsTuple = ['#d5d9e3', '#b4bbca', '#98a1b3', '#6b7589', '#3a4254', '#2a3040', '#1c212c', '#12151d', '#0d1016', '#090b10'];

export const theme = createTheme({
  primaryColor: 'council',
  primaryShade: { light: 6, dark: 5 },
  colors: { council, dark },
  autoContrast: true,
  defaultRadius: 'md',
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "JetBrains Mono", "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  headings: { fontWeight: '650' },
  cursorType: 'pointer',
});

const roleColours: Record<string, string> = {
  planner: '#6d78f2',
  architect: '#a06bf0',
  developer: '#2f93e8',
  security: '#e5566d',
  qa: '#1fa98a',
  'code-reviewer': '#e0822f',
  'performance-reviewer': '#c9a015',
  'domain-expert': '#d65fa8',
};

export function roleColour(role: string): string {
  return roleColours[role] ?? '#7c879b';
}
