"""What can be measured of how something looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: WCAG 2.2, 1.4.3: the contrast of each text with what is behind it.
_CONTRASTS = """(root) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const light = (channels) => {
        const linear = (share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = channels.map((channel) => linear(channel / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const over = ([r, g, b, alpha], under) =>
        [r, g, b].map((channel, at) => (channel * alpha + under[at] * (255 - alpha)) / 255);
    const chain = (element) => (element ? [element, ...chain(element.parentElement)] : []);
    // From the page upwards: what lets something through lies over what is behind it.
    const laid = (under, one) => over(rgba(getComputedStyle(one).backgroundColor), under);
    const behind = (element) => chain(element).reduceRight(laid, [255, 255, 255]);
    const opacity = (element) =>
        chain(element).reduce((share, one) => share * Number(getComputedStyle(one).opacity), 1);
    const poor = [];
    let count = 0;
    const measure = (element, colour) => {
        const ground = behind(element);
        const [r, g, b, alpha] = rgba(colour);
        const seen = over([r, g, b, alpha * opacity(element)], ground);
        const [one, other] = [light(seen), light(ground)].sort((a, b) => b - a);
        count += 1;
        const contrast = (one + 0.05) / (other + 0.05);
        const text = (element.textContent || element.placeholder || "").slice(0, 30);
        const name = String(element.className.baseVal ?? element.className);
        if (contrast < 4.5) poor.push([contrast.toFixed(2), name, text]);
    };
    for (const element of document.querySelectorAll(`${root} *`)) {
        if (!element.checkVisibility() || element.closest(":disabled")) continue;
        if (element.matches(".bodhi-offscreen, svg :not(text)")) continue;
        const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
        const hasText = texts.some((node) => node.textContent.trim());
        const { color, fill } = getComputedStyle(element);
        if (element.matches("svg text")) measure(element, fill);
        else if (hasText || element.matches("svg")) measure(element, color);
        if (element.placeholder) measure(element, getComputedStyle(element, "::placeholder").color);
    }
    return [count, poor];
}"""


def choose_theme(page: Page, theme: str) -> None:
    """JupyterLab's ``Light`` or ``Dark``."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.click()
    page.locator(".lm-Menu-itemLabel", has_text=f"JupyterLab {theme}").filter(has_not_text="Contrast").click()
    page.locator(f"body[data-jp-theme-light='{str(theme == 'Light').lower()}']").wait_for(state="attached")


def poor_contrasts(page: Page, root: str, *, at_least: int) -> list[Any]:
    """The texts below `root`, a selector, that can hardly be read: contrast, class, text.

    Args:
        page: that shows it.
        root: what is looked at.
        at_least: so many texts there have to be.
    """
    count, poor = page.evaluate(_CONTRASTS, root)
    assert count > at_least, f"only {count} texts"
    return list(poor)


def overflowing(page: Page, parts: str) -> list[str]:
    """The classes of those parts, by a selector, that can be seen and hold more than fits into their width."""
    names: list[str] = page.locator(parts).evaluate_all(
        "parts => parts.filter(part => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1)"
        ".map(part => part.className)"
    )
    return names
