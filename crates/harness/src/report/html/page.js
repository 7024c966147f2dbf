// Puts a plot of uPlot in the place of each drawing: values under the cursor, a part drawn larger, lines on and off.
// The drawing stays in the page, for paper and for where scripts are blocked; this reads the figures that stand beside it.
"use strict";
(() => {
    const HEIGHT = 300, LETTER = 7, MARK_ROWS = 4;
    const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const font = size => `${size}px system-ui, sans-serif`;
    const places = (value, count) => Number(value.toPrecision(count));

    // As the drawing has them: 20 k, 3 M.
    const short = value => value >= 1e6 ? `${places(value / 1e6, 6)} M` : value >= 1e4 ? `${places(value / 1e3, 6)} k` : `${places(value, 6)}`;
    const bytes = value => {
        const power = Math.max(0, Math.min(5, Math.floor(Math.log2(value) / 10)));
        return `${places(value / 1024 ** power, 4)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][power]}`;
    };
    // What a place of an axis stands for.
    const units = {
        plain: short,
        nines: value => `p${places(100 * (1 - 10 ** -value), 7)}`,
        rate: (value, { bits, least }) => `${bytes(2 ** ((value + least) * bits))}/s`,
    };

    // Lines have points of their own; under the cursor each says its last one, or its first where it has not begun.
    const nearest = (plot, line, at) => {
        const values = plot.data[line];
        for (let back = at; back >= 0; back--) if (values[back] != null) return back;
        for (let on = at; on < values.length; on++) if (values[on] != null) return on;
        return at;
    };

    const axis = (ticks, more) => ({
        stroke: () => color("--dim"), font: font(12), grid: { stroke: () => color("--grid"), width: 1 }, ticks: { show: false },
        values: (_, at) => at.map(short),
        ...(ticks.length > 0 && {
            splits: ticks.map(([at]) => at), values: (_, at) => at.map(at => ticks.find(([own]) => own === at)?.[1] ?? ""),
        }),
        ...more,
    });

    // What happened, as dashed lines with names, beside which side has room.
    const drawMarks = (plot, marks) => {
        const { ctx, bbox: { left, top, width, height } } = plot, scale = devicePixelRatio;
        ctx.save();
        ctx.font = font(12 * scale);
        ctx.lineWidth = scale;
        ctx.setLineDash([2 * scale, 3 * scale]);
        ctx.strokeStyle = color("--bad");
        ctx.fillStyle = color("--dim");
        marks.forEach(([at, text], number) => {
            const x = plot.valToPos(at, "x", true), isLate = x > left + width / 2;
            if (x < left || x > left + width) return;
            ctx.beginPath();
            ctx.moveTo(x, top);
            ctx.lineTo(x, top + height);
            ctx.stroke();
            ctx.textAlign = isLate ? "right" : "left";
            ctx.fillText(text, x + (isLate ? -4 : 4) * scale, top + (26 + 14 * (number % MARK_ROWS)) * scale);
        });
        ctx.restore();
    };

    const draw = (holder, of) => {
        const data = uPlot.join(of.lines.map(({ points }) => {
            const own = [...new Map(points)];
            return [own.map(([x]) => x), own.map(([, y]) => y)];
        }));
        const said = (unit, more) => (_, value) => value == null ? "" : units[unit](value, more);
        const highest = Math.max(0, ...of.y_ticks.map(([at]) => at));
        const line = ({ name, colour, is_bound }) => ({
            label: name, stroke: () => color(`--${colour}`), width: 2, dash: is_bound ? [5, 4] : [], spanGaps: true,
            points: { show: false }, value: said(of.y_unit, of.rate),
            paths: of.is_steps ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
        });
        const y = axis(of.y_ticks, { size: (_, texts) => 20 + LETTER * Math.max(4, ...(texts ?? []).map(text => text.length)) });
        return new uPlot({
            width: holder.clientWidth, height: HEIGHT,
            scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(most, highest, Number.MIN_VALUE) * 1.05] } },
            axes: [axis(of.x_ticks), y],
            series: [{ label: "at", value: said(of.x_unit) }, ...of.lines.map(line)],
            cursor: { dataIdx: (plot, line, at) => line === 0 ? at : nearest(plot, line, at), y: false },
            hooks: { draw: [plot => drawMarks(plot, of.marks)] },
        }, data, holder);
    };

    const label = (holder, text, where) => {
        const label = document.createElement("div");
        label.className = "axis of-script";
        label.textContent = text;
        holder[where](label);
    };

    for (const holder of document.querySelectorAll(".plot")) {
        const of = JSON.parse(holder.querySelector("script").textContent);
        if (of.lines.length === 0) continue;
        label(holder, of.y_label, "append");
        const plot = draw(holder, of);
        plot.ctx.canvas.setAttribute("role", "img");
        plot.ctx.canvas.setAttribute("aria-label", holder.querySelector("svg").getAttribute("aria-label"));
        label(holder, `${of.x_label}. Drag over a part to see it larger, double-click to see all, click a name to hide its line.`, "append");
        // Only now: had anything gone wrong, the drawing would still be there.
        holder.classList.add("drawn");
        addEventListener("resize", () => plot.setSize({ width: holder.clientWidth, height: HEIGHT }));
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw(false, true));
    }
})();
