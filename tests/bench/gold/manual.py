"""One manual, in reStructuredText and Markdown, that every template renders: its words are our own."""

_PROSE = """\
Reservoir levels rose after the spring melt, and the gauging station at the weir recorded its highest flow. {n} The
keeper opens the north gate first, since the south gate sticks while the water is cold. When the lamp blinks, wait
until it goes out; only then start the pump. A second keeper writes down the level, the time and the name of the person
who gave the order, so that nobody has to remember it later.
"""
_NUMBERS = ("Nine of eleven gates failed.", "Eight gates passed.", "One gate was new.")

PAGES: dict[str, str] = {
    "prose": "Closing the gates\n=================\n\n"
    + "\n".join(_PROSE.format(n=number) for number in _NUMBERS)
    + "\nAt night\n--------\n\n"
    + _PROSE.format(n="Call 4711.")
    + "\nIn winter\n---------\n\n"
    + _PROSE.format(n="Break the ice.")
    + "\n`Pumps <tables.html>`_ and `codes <lists.html>`_ are described elsewhere.\n",
    "tables": """\
Pumps
=====

Each pump has a number, a place and a key.

.. list-table:: Pumps of the station
   :header-rows: 1

   * - Pump
     - Place
     - What to do
   * - A
     - North bank
     - Open the bypass, then start it.
   * - B
     - South bank
     - * Close valve 3
       * Start it by hand
   * - C
     - Cellar
     - Never start it alone.

The table above is checked every spring.

======  =======  ======
Month   Level    Flow
======  =======  ======
May     312 cm   4 m/s
June    280 cm   3 m/s
======  =======  ======
""",
    "lists": """\
Start after a power cut
=======================

#. Open the bypass.
#. Reset the breaker.
#. Start pump B.

If the lamp blinks, repeat the second step.

Red lamp
    The hinge is cold. Warm it for nine minutes.
Green lamp
    All is well; sign the log.

- Keys are in the duty room.
- Boots are behind the door.

  - Large ones on the left.
  - Small ones on the right.
""",
    "code": """\
Command line
============

Close the gate from the control host::

    gatectl --site north --close
    gatectl --status > /tmp/gate.txt
    gatectl --lock

In Python:

.. code-block:: python

    from weir import Gate

    def close(gate: Gate, *, force: bool = False) -> None:
        '''Close a gate.'''
        if force or gate.level < 310:
            gate.move(0)

Use ``--force`` only when two keepers are present.
""",
    "notes": """\
Rules of the weir
=================

.. warning::

   Turn off the power before you touch the hinge. It has killed a man.

.. note::

   Nobody walks on the weir [#first]_ without a vest.

The discharge is :math:`Q = A v` where A is the wetted area.

.. seealso::

   The handbook of the region, third edition.

.. topic:: On grease

   Grease turns hard below five degrees, so it is wrong here.

.. rubric:: Footnotes

.. [#first] With the exception of the fire brigade.
""",
    "reference": """\
Gate
====

.. py:class:: Gate(number, *, site)

   A gate of the weir.

   .. py:method:: open(height)

      Open the gate.

      :param height: in centimetres
      :returns: the time it took, in seconds
      :raises Stuck: if the hinge is cold

   .. py:method:: close()

      Close the gate and lock it.

   .. py:attribute:: level

      Level of the water behind the gate, in centimetres.
""",
    "chinese": """\
水门
====

水门每天上午一点关闭，维修期间请使用北侧的泵站，钥匙在值班室，夜间请拨打值班电话。第二位看守记录水位、时间和下达命令的人的姓名，
以便以后不必再记住。红灯闪烁时，请等待它熄灭，然后再启动水泵。

冬季
----

五度以下油脂会变硬，因此这里不能使用油脂。先打开北门，因为水冷时南门会卡住。
""",
    "japanese": """\
水門
====

水門は毎朝一時に閉まります。修理中は北側のポンプを使ってください。鍵は当直室にあります。夜間は当直の番号に電話してください。

冬
--

五度以下では油が固まるので、ここでは使えません。水が冷たいと南の門が動かないので、最初に北の門を開けます。
""",
}
METHODS = [f"method_{number}" for number in range(60)]
MEASURED_METHODS = METHODS[::15]


def restructured_text() -> dict[str, str]:
    """Page name -> source: the pages, sixty tiny pages of reference, and the index."""
    sources = dict(PAGES)
    for method in METHODS:
        title = f"weir.Gate.{method}"
        sources[method] = (
            f"{title}\n{'=' * len(title)}\n\n.. py:method:: Gate.{method}(other)\n"
            "   :no-index:\n\n   Method equivalent of the equality operator.\n"
        )
    names = "\n   ".join(sources)
    sources["index"] = (
        "Handbook of the weir\n====================\n\nWelcome. This handbook is for keepers of the weir.\n\n"
        f".. toctree::\n   :caption: Contents\n\n   {names}\n"
    )
    return sources


def markdown() -> dict[str, str]:
    """The pages that are prose, lists, tables and code, in Markdown."""
    prose = "\n\n".join(_PROSE.format(n=number) for number in _NUMBERS)
    return {
        "index": "# Handbook of the weir\n\nWelcome. This handbook is for keepers of the weir.\n",
        "prose": f"# Closing the gates\n\n{prose}\n\n## At night\n\n{prose}\n",
        "tables": "# Pumps\n\n| Pump | Place |\n| --- | --- |\n| A | North bank |\n| B | South bank |\n\n"
        "The table above is checked every spring.\n",
        "lists": "# Start after a power cut\n\n1. Open the bypass.\n2. Reset the breaker.\n\n"
        "- Keys are in the duty room.\n- Boots are behind the door.\n\nIf the lamp blinks, repeat the second step.\n",
        "code": "# Command line\n\nClose the gate:\n\n    gatectl --close\n    gatectl --lock\n\nUse it with care.\n",
        "chinese": "# 水门\n\n水门每天上午一点关闭，维修期间请使用北侧的泵站，钥匙在值班室，夜间请拨打值班电话。\n",
        **{
            method: f"# weir.Gate.{method}\n\nMethod equivalent of the equality operator.\n"
            for method in METHODS
        },
    }
