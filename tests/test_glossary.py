"""The glossary: complete, in order, of the right script, and about words that the lessons really use."""

import re
import tomllib

from kdcourse import lesson, notebooks

TERMS = tomllib.loads((lesson.ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))["term"]
IDS = [term["id"] for term in TERMS]
NEEDED = {"id", "en", "zh_tw", "zh_cn", "vi", "definition", "first", "see"}
OPTIONAL = {"also", "formula"}
# Characters of one script only, pair by pair. Characters that both scripts have (后, 里, 准, 台 …) are left out.
SIMPLIFIED = (
    "识馏标签网络数据师学损温软类训练随机种间隐误错图层测验无监归约权对关应边压缩阈优态样个转换现见级维实习结论门输变"
    "点设计评价响张积连续仅与区统显没决减净难频围给导领内总选择试调极阵组较证问题编码带独稳扰残馈迁强专潜检复断预"
)
TRADITIONAL = (
    "識餾標籤網絡數據師學損溫軟類訓練隨機種間隱誤錯圖層測驗無監歸約權對關應邊壓縮閾優態樣個轉換現見級維實習結論門輸變"
    "點設計評價響張積連續僅與區統顯沒決減淨難頻圍給導領內總選擇試調極陣組較證問題編碼帶獨穩擾殘饋遷強專潛檢復斷預"
)
# What mainland literature says and Taiwan's does not, and the other way round, each in the other's script.
MAINLAND = ("網絡", "數據", "概率", "置信", "圖像", "信息", "噪聲")
TAIWAN = ("网路", "资料", "机率", "信赖", "影像", "资讯", "杂讯")


def prose(source) -> str:
    """All text of a lesson on one line, so that a term may run over the end of a line."""
    return " ".join(" ".join(cell.source for cell in source.cells).split()).casefold()


TEXTS = {source.number: prose(source) for source in notebooks.lessons()}


def occurs(form: str, text: str) -> bool:
    """The form stands in the text by itself or with a plural s, not inside another word."""
    return re.search(rf"(?<!\w){re.escape(form.casefold())}s?(?!\w)", text) is not None


def test_every_term_is_complete():
    for term in TERMS:
        assert set(term) >= NEEDED, term
        assert set(term) <= NEEDED | OPTIONAL, term
        for name in set(term) - {"see", "also"}:
            assert isinstance(term[name], str), (term["id"], name)
            assert term[name] == term[name].strip() != "", (term["id"], name)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", term["id"]), term["id"]
        assert all(term.get("also", ["-"])), term["id"]
        assert term["definition"].endswith((".", "?", ")")), term["id"]
        assert "$" not in term.get("formula", ""), term["id"]
        assert term.get("formula", "").count("{") == term.get("formula", "").count("}"), term["id"]


def test_ids_and_terms_are_unique_and_in_order():
    assert len(set(IDS)) == len(IDS)
    names = [term["en"].casefold() for term in TERMS]
    assert len(set(names)) == len(names)
    assert names == sorted(names)


def test_every_term_leads_to_other_terms():
    for term in TERMS:
        assert term["see"], term["id"]
        assert set(term["see"]) <= set(IDS) - {term["id"]}, term["id"]
        assert len(set(term["see"])) == len(term["see"]), term["id"]


def test_its_first_lesson_uses_the_term():
    for term in TERMS:
        assert term["first"] in TEXTS, term["id"]
        assert any(occurs(form, TEXTS[term["first"]]) for form in (term["en"], *term.get("also", []))), term["id"]


def test_no_earlier_lesson_introduces_a_term_in_bold():
    for number, text in TEXTS.items():
        bold = {word.rstrip(".:").removesuffix("s") for word in re.findall(r"\*\*([^*]+)\*\*", text)}
        assert not [term["id"] for term in TERMS if number < term["first"] and term["en"].casefold() in bold], number


def test_each_chinese_is_of_its_own_script_and_place():
    assert len(SIMPLIFIED) == len(TRADITIONAL)
    simplified, traditional = (
        {a for a, b in zip(*pair) if a != b} for pair in ((SIMPLIFIED, TRADITIONAL), (TRADITIONAL, SIMPLIFIED))
    )
    assert not simplified & traditional
    for term in TERMS:
        assert not set(term["zh_tw"]) & simplified, term["id"]
        assert not set(term["zh_cn"]) & traditional, term["id"]
        assert not [word for word in MAINLAND if word in term["zh_tw"]], term["id"]
        assert not [word for word in TAIWAN if word in term["zh_cn"]], term["id"]
        assert not re.search(r"[\u4e00-\u9fff]", term["vi"] + term["definition"]), term["id"]


def test_the_verdicts_are_all_explained():
    assert {"REPRODUCED", "SMALLER", "REFUTED", "INCONCLUSIVE", "EXPLORATORY"} <= {term["en"] for term in TERMS}
