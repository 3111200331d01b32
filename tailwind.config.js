/**
 * The design tokens under the names that utilities use: bg-surface, text-muted, border-line-strong, bg-ok-bg. Their values
 * for the light and the dark theme are in views/app.css, together with the contrast that they were chosen for.
 *
 * @type {import('tailwindcss').Config}
 */
const token = (name) => `var(--c-${name})`;

/** A state's three colours: the graphic (border, bar, icon), the text and the tint behind it. */
const state = (name) => ({ DEFAULT: token(name), fg: token(`${name}-fg`), bg: token(`${name}-bg`) });

module.exports = {
  content: ['./views/*.templ', './views/*.go'],
  theme: {
    extend: {
      colors: {
        canvas: token('canvas'),
        surface: token('surface'),
        sunken: token('sunken'),
        line: { DEFAULT: token('line'), strong: token('line-strong') },
        fg: token('fg'),
        muted: token('muted'),
        link: token('link'),
        primary: token('primary'),
        focus: token('focus'),
        ok: state('ok'),
        bad: state('bad'),
        warn: state('warn'),
        info: state('info'),
        hold: state('hold'),
      },
      fontFamily: {
        sans: ['ui-sans-serif', 'system-ui', 'sans-serif'],
        mono: ['ui-monospace', 'SFMono-Regular', 'Menlo', 'Consolas', '"DejaVu Sans Mono"', 'monospace'],
      },
    },
  },
};
