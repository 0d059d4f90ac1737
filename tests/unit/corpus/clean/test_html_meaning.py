"""Markup that means something stays readable: numbers, formulas, tables, definitions, pictures, XML."""

import pytest

from corpus.clean.html import clean_html
from tests.support.blocks import texts


def blocks(markup: str, *, main: bool = False) -> list[str]:
    return texts(clean_html(markup, main=main, max_nesting=512))


@pytest.mark.parametrize(
    ("markup", "line"),
    [
        ("10<sup>6</sup> litres", "10^6 litres"),
        ("10<sup>-3</sup> litres", "10^-3 litres"),
        ("x<sup>n+1</sup>y", "x^(n+1)y"),
        ("2<sup>3</sup>4", "2^(3)4"),
        ("the 1<sup>st</sup> gate", "the 1st gate"),
        ("gate<sup><a href=#f>1</a></sup>", "gate[1]"),
        ("gate<sup><a href=#f>[1]</a></sup>", "gate[1]"),
        ("e<sup>x<sup>2</sup></sup>", "e^(x^2)"),
        ("H<sub>2</sub>O and CO<sub>2</sub>", "H2O and CO2"),
        ("Ca(OH)<sub>2</sub>", "Ca(OH)2"),
        ("log<sub>2</sub>8", "log_(2)8"),
        ("a<sub>i</sub> + b<sub>12</sub>", "a_i + b_12"),
        ("101<sub>2</sub>", "101_2"),
        ("<sup></sup>a", "a"),
        ("he said <q>stop</q>", "he said “stop”"),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢(kan)"),
        ("&#1;10<sup>6</sup>&#2;", "10^6"),
        ("10<span style='font-size:.6em;vertical-align:super'>6</span> litres", "10^6 litres"),
        ("H<span style='vertical-align: sub'>2</span>O", "H2O"),
        ("10<span style='vertical-align:baseline'>6</span>", "106"),
        # formulas
        (
            "<math><semantics><mi>Q</mi><annotation encoding='application/x-tex'>{\\displaystyle Q=Av}"
            "</annotation></semantics></math>",
            "Q=Av",
        ),
        ("<math alttext='Q=Av'><mi>Q</mi></math>", "Q=Av"),
        ("<math alttext=''><mi>Q</mi></math>", "Q"),
        ("<math><msup><mi>x</mi><mn>2</mn></msup></math>", "x^2"),
        ("<math><msup> <mi>x</mi> <mn>2</mn> </msup></math>", "x^2"),
        ("<msup>x <button></button><b>y</b></msup>", "x y"),
        ("<math><msub><mi>x</mi><mi>i</mi></msub></math>", "x_i"),
        ("<math><msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup></math>", "x_i^2"),
        ("<math><mfrac><mi>a</mi><mi>b</mi></mfrac></math>", "(a)/(b)"),
        ("<math><msqrt><mi>a</mi><mi>b</mi></msqrt></math>", "√(ab)"),
        (
            "<math><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr></mtable></math>",
            "1 2 ;",
        ),
        ("is <script type='math/tex; mode=display'>Q = A v</script> too", "is Q = A v too"),
        ("is <script type='math/asciimath'>sum_i</script> too", "is sum_i too"),
        ("energy <img alt='E=mc^2'> here", "energy E=mc^2 here"),
        ("<img alt='\\frac{a}{b}'>", "\\frac{a}{b}"),
        ("<img class='mwe-math-fallback-image' aria-hidden=true alt='{\\displaystyle a}'>", "a"),
        # pictures
        ("<img alt='Red wire to pin four'>", "[Red wire to pin four]"),
        ("<img alt='泵的接线图红线接四号'>", "[泵的接线图红线接四号]"),
    ],
)
def test_a_line(markup: str, line: str) -> None:
    assert blocks(f"<p>{markup}</p>") == [line]


@pytest.mark.parametrize("alt", ["logo", "a.png", "Build Status", "IMG_2031 copy.JPG", ""])
def test_a_picture_that_says_nothing(alt: str) -> None:
    assert blocks(f"<p>a<img alt='{alt}'></p>") == ["a"]


def test_a_picture_whose_caption_says_the_same_is_said_once() -> None:
    figure = "<figure><img alt='Red wire to pin four'><figcaption>Red wire to pin four</figure>"
    assert blocks(figure) == ["Red wire to pin four"]


@pytest.mark.parametrize(
    ("markup", "items"),
    [
        ("<ol><li>a<li>b</ol>", ["1. a", "2. b"]),
        ("<ol start=4><li>a<li>b</ol>", ["4. a", "5. b"]),
        ("<ol><li>a<li value=7>b<li>c</ol>", ["1. a", "7. b", "8. c"]),
        ("<ol reversed><li>a<li>b</ol>", ["2. a", "1. b"]),
        ("<ol type=a><li>a<li value=27>b</ol>", ["a. a", "aa. b"]),
        ("<ol type=I start=4><li>a</ol>", ["IV. a"]),
        ("<ol class='upperalpha simple'><li>a</ol>", ["A. a"]),
        ("<ol class=loweralpha><li>a</ol>", ["a. a"]),
        ("<ol style='list-style-type: lower-latin'><li>a</ol>", ["a. a"]),
        ("<ol type=a style='list-style:UPPER-ROMAN'><li>a</ol>", ["I. a"]),
        ("<ol class=lowerroman><li>a</ol>", ["i. a"]),
        ("<ol class=upperroman><li>a</ol>", ["I. a"]),
        ("<ol start=x type=z><li>a</ol>", ["1. a"]),
        ("<ol><li>a<ul><li>b</ul><li>c</ol>", ["1. a", "- b", "2. c"]),
        ("<li>a", ["- a"]),
        ("<ul><li><input type=checkbox checked> a</ul>", ["- [x] a"]),
        ("<ul><li><input type=checkbox> b</ul>", ["- [ ] b"]),
    ],
)
def test_a_list(markup: str, items: list[str]) -> None:
    assert blocks(markup) == items


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<dl><dt>Port<dd>8080</dl>", ["Port: 8080"]),
        (
            "<dl><dt>-v<dt>--verbose<dd><p>More.</p><p>Loud.</p></dl>",
            ["-v, --verbose: More.", "Loud."],
        ),
        ("<dl><dt>Port:<dd>8080<dd>9090</dl>", ["Port: 8080", "9090"]),
        ("<dl><dt>Empty<dd></dl>after", ["Empty", "after"]),
        ("<dl><dt>Use<dd><ul><li>a</ul></dl>", ["Use", "- a"]),
    ],
)
def test_a_definition(markup: str, expected: list[str]) -> None:
    assert blocks(markup) == expected


def table(*rows: str) -> str:
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        (table("<th>a<th>b", "<td>1<td>2"), ["a | b", "1 | 2"]),
        (table("<td>1<td><p>a</p><p>b</p>", "<td>2<td>c"), ["1 | a b", "2 | c"]),
        (table("<th>1<td><ul><li>a<li>b</ul>"), ["1 | a; b"]),
        (table("<th>1<td><ol start=3><li>a<li>b</ol>"), ["1 | 3. a; 4. b"]),
        (table("<th>1<td>a<br>b"), ["1 | a b"]),
        (table("<th rowspan=2>North<td>1", "<td>2"), ["North | 1", "North | 2"]),
        (table("<th>g<td rowspan=2>x<td>1", "<th>h<td>2"), ["g | x | 1", "h | x | 2"]),
        (table("<th>a<th>b<th>c", "<td colspan=2>x<td>y"), ["a | b | c", "x | | y"]),
        (
            table("<th>m<th colspan=2>Winter", "<td>1<td>2<td>3"),
            ["m | Winter | Winter", "1 | 2 | 3"],
        ),
        (table("<th rowspan=0>N<td>1", "<td>2", "<td>3"), ["N | 1", "N | 2", "N | 3"]),
        (table("<th>a<td>" + table("<td>1<td>2", "<td>3<td>4")), ["a | 1 2; 3 4"]),
        (table("<th>m<td>10<sup>3</sup>"), ["m | 10^3"]),
        ("<table><caption>C</caption><thead><tr><td>a</thead><tr><td>b</table>", ["C", "a", "b"]),
    ],
)
def test_a_table(markup: str, lines: list[str]) -> None:
    assert blocks(markup) == ["\n".join(lines)]


def test_spans_add_only_so_much() -> None:
    bomb = table(*["<td rowspan=65535 colspan=1000>" + "x" * 100 for _ in range(300)])
    assert len(clean_html(bomb, main=False, max_nesting=512).text) < 8 * len(bomb)


CONFLUENCE = "<ac:structured-macro ac:name='code'>{}</ac:structured-macro>"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (
            CONFLUENCE.format("<ac:plain-text-body><![CDATA[a > b\n  c]]></ac:plain-text-body>"),
            ["a > b\n  c"],
        ),
        (
            "<p>See <ac:link><ri:page ri:content-title='Duty list'/></ac:link>.</p>",
            ["See Duty list."],
        ),
        ("<p>On <time datetime='2026-05-01'/>: open</p><ac:x/>", ["On 2026-05-01: open"]),
        ("<p>a<![CDATA[ <b> ]]>c</p>", ["a <b> c"]),
        ("<description><![CDATA[<p>one</p><p>two</p>]]></description>", ["one", "two"]),
        ("<script>//<![CDATA[\nx()\n//]]></script><p>a</p>", ["a"]),
        ("<p>a<![CDATA[ b", ["a"]),
        (
            "<?xml version='1.0'?><html><body><div id='a'/><p>b</p><span/>c</body></html>",
            ["b", "c"],
        ),
        (
            "<!DOCTYPE html>\n<html xmlns='http://www.w3.org/1999/xhtml'><head><script src='a'/>"
            "</head><body><p>b</p></body></html>",
            ["b"],
        ),
        (
            "<?xml version='1.0'?><article><title>A</title><section><title>B</title><para>c</para>"
            "<programlisting><![CDATA[a < b\n  c]]></programlisting><itemizedlist><listitem>"
            "<para>d</para></listitem></itemizedlist></section></article>",
            ["A", "B", "c", "a < b\n  c", "- d"],
        ),
        (
            "<rss><channel><title>A</title><item><title>B</title><description>&lt;p&gt;c&lt;/p&gt;"
            "</description></item></channel></rss>",
            ["A", "B", "c"],
        ),
        (
            "<feed><title>A</title><entry><title>B</title><summary>c</summary>"
            "<content type='html'><![CDATA[<p>d</p><p>e</p>]]></content></entry></feed>",
            ["A", "B", "c", "d", "e"],
        ),
    ],
)
def test_xml_dialects(markup: str, expected: list[str]) -> None:
    assert blocks(markup) == expected
